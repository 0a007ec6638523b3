"""Prefect flow: look at all recipes, and tell somebody what is the matter."""

from __future__ import annotations

import logging

from prefect import flow

from flows.alerts import find_all_reasons, send_alerts
from flows.run_log import set_up_run_log
from pipeline.text import counted

set_up_run_log()
logger = logging.getLogger(__name__)


@flow(name="watch", persist_result=False)
def watch() -> list[str]:
    """Send what nobody was told of yet; returns every reason to look at a recipe, a line each.

    It depends on no cycle: a feed or a schedule that stopped is noticed here.
    """
    changes, reasons = send_alerts(), list(map(str, find_all_reasons()))
    for reason in reasons:
        logger.warning("%s", reason)
    logger.info("%s, %s sent", counted(len(reasons), "reason") + " to look at a recipe", counted(len(changes), "alert"))
    return reasons
