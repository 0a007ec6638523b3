"""Prefect flow: check all recipes, and send alerts."""

from __future__ import annotations

import logging
from typing import Any

from prefect import State, flow

from flows.alerts import send_alerts
from flows.context import open_store
from flows.run_log import set_up_run_log
from flows.scheduling import end_if_superseded
from pipeline.config.settings import read_settings
from pipeline.jobs.alerts import find_reasons
from pipeline.text import counted

set_up_run_log()
logger = logging.getLogger(__name__)


@flow(name="watch", persist_result=False)
def watch() -> list[str] | State[Any]:
    """Check all recipes and send the alerts that were not sent yet; returns a line for each reason.

    It needs no cycle, so it also notices that data or a schedule have stopped.
    """
    if (superseded := end_if_superseded()) is not None:
        return superseded
    with open_store() as store:
        reasons = find_reasons(store, recipes=read_settings().recipes)
        num_sent = send_alerts(store, reasons)
    for reason in reasons:
        logger.warning("%s", reason)
    logger.info("%s found, %s sent", counted(len(reasons), "reason"), counted(num_sent, "alert"))
    return list(map(str, reasons))
