"""Prefect automations that notify of runs which cannot do so themselves: crashed, late, or without a sign of life."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.automations import (
    Automation,
    ChangeFlowRunState,
    EventTrigger,
    Posture,
    ResourceSpecification,
    SendNotification,
)
from prefect.blocks.core import Block
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from pydantic import SecretStr

from flows.alerts import WEBHOOKS, name_of_block
from flows.context import require_prefect
from pipeline.config.settings import read_settings
from pipeline.errors import InvalidArgument, Permanent

#: a run that reported nothing for so long is marked as crashed; runs of a deployment report every 180 s by default
_SILENT_FOR = timedelta(minutes=10)
#: tags of the deployments in prefect.yaml, and of the one among them that checks all recipes
_TAG, _WATCH_TAG = "nextperiod", "watch"
#: name of the block that is saved for the address of a webhook
_OWN_BLOCK = "nextperiod-alerts"
_BODY = "{{ flow_run.name }}: {{ flow_run.state.name }} {{ flow_run.state.message or '' }} {{ flow_run|ui_url or '' }}"


class NoNotificationBlock(Permanent):
    """The Prefect server has no block of the name in `NEXTPERIOD_ALERTS`."""


def save_automations() -> list[str]:
    """Create the automations on the Prefect server, or update them; returns their names.

    A run that stopped reporting is marked as crashed. Of each run that crashed or is late, and of a check of all recipes that
    failed, the Prefect server sends a message to what `NEXTPERIOD_ALERTS` names.

    Raises:
        InvalidArgument: `PREFECT_API_URL` is not set, or `NEXTPERIOD_ALERTS` names neither a webhook nor a block.
        PrefectUnavailable: the server does not answer.
        NoNotificationBlock: the server has no such block.
    """
    settings = read_settings()
    if not settings.prefect_api_url:
        raise InvalidArgument("PREFECT_API_URL is not set: expected the address of the server that keeps automations")
    require_prefect(settings.prefect_api_url)
    automations = _automations(_ensure_block(settings.alerts))
    with get_client(sync_client=True) as client:
        for automation in automations:
            existing = client.read_automations_by_name(automation.name)
            if existing:
                automation.id = existing[0].id
                automation.update()
            else:
                automation.create()
    return [automation.name for automation in automations]


def _ensure_block(alerts: str) -> UUID:
    """The id of the notification block that `NEXTPERIOD_ALERTS` names, or that is saved for its webhook."""
    if alerts.startswith(WEBHOOKS):
        block = CustomWebhookNotificationBlock(
            name=_OWN_BLOCK, url="{{address}}", json_data={"text": "{{body}}"}, secrets={"address": SecretStr(alerts)}
        )
        saved = block.save(_OWN_BLOCK, overwrite=True)
        assert isinstance(saved, UUID)
        return saved
    name = name_of_block(alerts)
    try:
        loaded = Block.load(name)
    except ValueError as error:
        raise NoNotificationBlock(f"Prefect has no block {name}: {error}") from None
    assert isinstance(loaded, Block)
    assert loaded._block_document_id is not None
    return loaded._block_document_id


def _automations(block: UUID) -> list[Automation]:
    return [
        Automation(
            name="nextperiod: mark runs that stopped reporting as crashed",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                after={"prefect.flow-run.heartbeat"},
                expect={
                    "prefect.flow-run.heartbeat",
                    *map(_state_event, ("Completed", "Failed", "Cancelled", "Crashed")),
                },
                match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
                match_related=_tagged(_TAG),
                for_each={"prefect.resource.id"},
                threshold=1,
                within=_SILENT_FOR,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED, message=f"reported nothing for {_SILENT_FOR.seconds // 60} minutes"
                )
            ],
        ),
        _notification("nextperiod: notify of crashed runs", "Crashed", _TAG, block),
        _notification("nextperiod: notify of late runs", "Late", _TAG, block),
        _notification("nextperiod: notify of failed checks", "Failed", _WATCH_TAG, block),
    ]


def _notification(name: str, state: str, tag: str, block: UUID) -> Automation:
    """Send a message when a run with this tag gets this state."""
    return Automation(
        name=name,
        trigger=EventTrigger(
            posture=Posture.Reactive,
            expect={_state_event(state)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=_tagged(tag),
            threshold=1,
            within=timedelta(0),
        ),
        actions=[SendNotification(block_document_id=block, subject="nextperiod", body=_BODY)],
    )


def _state_event(state: str) -> str:
    return f"prefect.flow-run.{state}"


def _tagged(tag: str) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"})
