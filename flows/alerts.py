"""Send alerts about recipes: one when there is a reason, and one when the reason is gone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module

from flows.context import utc_now
from pipeline.config.settings import read_settings
from pipeline.errors import InvalidArgument, NextperiodError
from pipeline.jobs.alerts import Alert, Reason, claim_alerts, find_new_alerts, find_reasons
from pipeline.storage.store import Store
from pipeline.text import counted, without_secrets

logger = logging.getLogger(__name__)

#: seconds that a webhook may take to answer
_TIMEOUT = 10.0
#: how the address of a webhook begins
WEBHOOKS = ("https://", "http://")
_PREFECT = "prefect:"


class AlertNotSent(NextperiodError):
    """The webhook or the notification block did not accept alerts; they are sent again next time."""


def send_alerts(store: Store, reasons: Sequence[Reason], recipe: str | None = None) -> int:
    """Send the alerts that were not sent yet, and record them; returns how many.

    Nothing is sent where `NEXTPERIOD_ALERTS` is not set. Of two processes that do this at the same time one sends an alert.

    Args:
        store: the recipes and the alerts that were sent before.
        reasons: all present reasons of the recipe, or of all recipes.
        recipe: the recipe; None: all.

    Raises:
        AlertNotSent: the webhook or the notification block did not accept the message.
        InvalidArgument: `NEXTPERIOD_ALERTS` names neither a webhook nor a notification block.
    """
    address = read_settings().alerts
    if not address:
        return 0
    alerts = find_new_alerts(store, reasons, recipe)
    if not alerts:
        return 0
    with claim_alerts(store, alerts, utc_now()) as claimed:
        if claimed:
            _send(claimed, address)
    return len(claimed)


def try_to_send_alerts(store: Store, recipe: str) -> None:
    """Send the alerts of a recipe after its cycle. A failure is logged, and does not change the result of the cycle."""
    if not read_settings().alerts:
        return
    try:
        num_sent = send_alerts(store, find_reasons(store, recipe), recipe)
    except NextperiodError as error:
        logger.warning("%s", error)
    else:
        if num_sent:
            logger.info("%s sent", counted(num_sent, "alert"))


def _send(alerts: Sequence[Alert], address: str) -> None:
    text = "\n".join(map(str, alerts))
    if address.startswith(WEBHOOKS):
        _post({"text": text, "alerts": [asdict(alert) for alert in alerts]}, address)
    else:
        _send_by_prefect(text, name_of_block(address))


def name_of_block(address: str) -> str:
    """The TYPE/NAME of the notification block that an address of alerts names.

    Raises:
        InvalidArgument: it names neither a webhook nor a block.
    """
    if not address.startswith(_PREFECT):
        raise InvalidArgument(
            "NEXTPERIOD_ALERTS is no address: expected https://… of a webhook, or prefect:TYPE/NAME of a notification block"
        )
    return address.removeprefix(_PREFECT)


def _post(content: object, address: str) -> None:
    import httpx

    shown = without_secrets(address).partition("?")[0]
    try:
        httpx.post(address, json=content, timeout=_TIMEOUT).raise_for_status()
    except httpx.HTTPStatusError as error:
        raise AlertNotSent(
            f"alerts cannot be sent to {_host(shown)}: it answers {error.response.status_code}"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AlertNotSent(f"alerts cannot be sent to {_host(shown)}: {type(error).__name__}: {error}") from None


def _host(address: str) -> str:
    """An address without its path, which often is the secret of a webhook."""
    return "/".join(address.split("/")[:3])


def _send_by_prefect(text: str, block: str) -> None:
    import httpx
    from prefect.blocks.abstract import NotificationBlock, NotificationError
    from prefect.blocks.core import Block
    from prefect.exceptions import PrefectException

    import_module("prefect.blocks.notifications")  # so that the types of its blocks are known
    try:
        loaded = Block.load(block)
        if not isinstance(loaded, NotificationBlock):
            raise ValueError(f"a {type(loaded).__name__} sends no notifications, expected a notification block")
        with loaded.raise_on_failure():
            loaded.notify(text, subject="nextperiod")  # type: ignore[unused-coroutine]  # outside of a loop it waits
    except (PrefectException, NotificationError, httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        raise AlertNotSent(
            f"alerts cannot be sent by Prefect's block {block}: {type(error).__name__}: {error}"
        ) from None
