"""When nextperiod does it: Prefect flows and the command line."""

import time

#: when this process began to import us
BEGAN = time.perf_counter()
