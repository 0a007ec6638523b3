"""Prefect flows and the command line: when a job runs, and what a person sees of it."""

import time

#: reading of `time.perf_counter` when this process began to import nextperiod
IMPORT_STARTED = time.perf_counter()
