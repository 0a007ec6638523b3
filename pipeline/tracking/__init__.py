"""MLflow. The only package that imports it."""
