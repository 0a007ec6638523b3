"""What nextperiod does, in plain Python: runs without Prefect."""
