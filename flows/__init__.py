"""When nextperiod does it: Prefect flows and the command line."""
