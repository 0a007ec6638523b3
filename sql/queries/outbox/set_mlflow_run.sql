-- Record which MLflow run shows the training of a model.
update models set mlflow_run_id = :mlflow_run_id where recipe = :recipe and model_version = :model_version
