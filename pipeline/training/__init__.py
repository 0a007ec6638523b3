"""Panel and recipe to a model directory, in a child process. With `models` the only package that imports TensorFlow."""
