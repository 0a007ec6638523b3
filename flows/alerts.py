"""Tell somebody what is the matter with recipes: once when a reason comes up, and once when it is gone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module

from flows.context import utc_now
from pipeline.config.settings import read_settings
from pipeline.errors import InvalidArgument, NextperiodError
from pipeline.jobs.alerts import Change, Reason, find_changes, find_reasons, record_changes
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.text import counted, without_secrets

logger = logging.getLogger(__name__)

#: seconds that a webhook may take to answer
_TIMEOUT = 10.0
_PREFECT = "prefect:"


class AlertNotSent(NextperiodError):
    """Where alerts are sent does not take them; they are sent again next time."""


def send_alerts(recipe: str | None = None) -> list[Change]:
    """Send what nobody was told of yet, of one recipe or of all, and record that it was sent.

    Nothing is sent where `NEXTPERIOD_ALERTS` is not set. If two do this at once, both may send the same.

    Raises:
        AlertNotSent: the webhook or the block did not take it within ten seconds.
        InvalidArgument: `NEXTPERIOD_ALERTS` is neither.
    """
    settings = read_settings()
    if not settings.alerts:
        return []
    database = open_database(settings.database_url)
    try:
        require_schema(database)
        store = Store(database)
        changes = find_changes(store, recipe)
        if changes:
            _send(changes, settings.alerts)
            record_changes(store, changes, utc_now())
        return changes
    finally:
        database.close()


def find_all_reasons() -> list[Reason]:
    """Every reason to look at a recipe of the store."""
    database = open_database(read_settings().database_url)
    try:
        require_schema(database)
        return find_reasons(Store(database))
    finally:
        database.close()


def try_to_send_alerts(recipe: str) -> None:
    """Send the alerts of a recipe after its cycle; what goes wrong is logged, and the cycle is as it was."""
    try:
        changes = send_alerts(recipe)
    except NextperiodError as error:
        logger.warning("%s", error)
    else:
        if changes:
            logger.info("%s sent", counted(len(changes), "alert"))


def _send(changes: Sequence[Change], address: str) -> None:
    text = "\n".join(map(str, changes))
    if address.startswith(_PREFECT):
        _send_by_prefect(text, address.removeprefix(_PREFECT))
    elif address.startswith(("https://", "http://")):
        _post({"text": text, "alerts": [asdict(change) for change in changes]}, address)
    else:
        raise InvalidArgument(
            "NEXTPERIOD_ALERTS is no address: expected https://… of a webhook, or prefect:TYPE/NAME of a notification block"
        )


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
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    import_module("prefect.blocks.notifications")  # so that the types of its blocks are known
    try:
        loaded = Block.load(block)
        if not isinstance(loaded, NotificationBlock):
            raise InvalidArgument(f"{type(loaded).__name__} sends no notifications")
        with loaded.raise_on_failure():
            loaded.notify(text, subject="nextperiod")  # type: ignore[unused-coroutine]  # it waits outside of a loop
    except Exception as error:  # of Prefect, of Apprise, or of the service behind it
        raise AlertNotSent(
            f"alerts cannot be sent by Prefect's block {block}: {type(error).__name__}: {error}"
        ) from None
