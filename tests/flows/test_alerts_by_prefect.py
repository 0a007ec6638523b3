"""Alerts through a notification block of Prefect."""

from __future__ import annotations

import json

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret

from flows.alerts import AlertNotSent, _send
from pipeline.jobs.alerts import Alert
from tests.sources.server import response, serve

pytestmark = pytest.mark.usefixtures("prefect_api")

ALERT = Alert(recipe="sales", kind="stale", state="raised", reason="no forecast was ever published")


def test_a_block_tells_what_is_the_matter() -> None:
    with serve(lambda _: response("ok")) as server:
        block = CustomWebhookNotificationBlock(name="ops", url=server.url, json_data={"text": "{{body}}"})
        block.save("ops", overwrite=True)

        _send([ALERT], "prefect:custom-webhook/ops")

    (request,) = server.requests
    assert json.loads(request.body) == {"text": "sales: stale: no forecast was ever published"}


def test_a_block_that_fails_does_not_exist_or_sends_nothing_is_named() -> None:
    Secret(value="x").save("word", overwrite=True)

    with serve(lambda _: response("no", status=500)) as server:
        CustomWebhookNotificationBlock(name="off", url=server.url).save("off", overwrite=True)
        for block in ("custom-webhook/off", "custom-webhook/none", "secret/word"):
            with pytest.raises(AlertNotSent, match=f"^alerts cannot be sent by Prefect's block {block}: "):
                _send([ALERT], f"prefect:{block}")
