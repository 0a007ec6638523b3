from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prefect import flow
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings

from flows import context
from flows.tasks import as_task
from pipeline.errors import Permanent, Transient

RunJob = Callable[[Callable[[], str]], str]

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "RETRY_AFTER_SECONDS", [0, 0, 0])


def by_prefect(job: Callable[[], str]) -> str:
    @flow(persist_result=False)
    def alone() -> str:
        return str(as_task(job)())

    return alone()


def in_this_process(job: Callable[[], str]) -> str:
    return str(context.add_retries(job)())


@pytest.fixture(params=[by_prefect, in_this_process])
def run_job(request: pytest.FixtureRequest) -> RunJob:
    way: RunJob = request.param
    return way


def test_a_transient_error_is_retried(run_job: RunJob) -> None:
    calls = []

    def away_once() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise Transient("away")
        return "done"

    assert run_job(away_once) == "done"
    assert len(calls) == 2


def test_a_lasting_transient_error_is_raised_after_three_retries(run_job: RunJob) -> None:
    calls = []

    def away() -> str:
        calls.append(1)
        raise Transient("still away")

    with pytest.raises(Transient, match="still away"):
        run_job(away)
    assert len(calls) == 4


@pytest.mark.parametrize("error", [Permanent("a person must act"), ValueError("a fault of ours")])
def test_other_errors_are_not_retried(error: Exception, run_job: RunJob) -> None:
    calls = []

    def broken() -> str:
        calls.append(1)
        raise error

    with pytest.raises(type(error), match=str(error)):
        run_job(broken)
    assert len(calls) == 1


def test_prefect_stores_no_result_even_if_configured_to(tmp_path: Path) -> None:
    def give() -> str:
        return "a result"

    with temporary_settings(updates={PREFECT_RESULTS_PERSIST_BY_DEFAULT: True, PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        assert by_prefect(give) == "a result"

    assert list(tmp_path.rglob("*")) == []


def test_a_known_error_is_logged_without_a_traceback_and_another_with_one(caplog: pytest.LogCaptureFixture) -> None:
    def failing(error: Exception) -> Callable[[], str]:
        def job() -> str:
            raise error

        return job

    for error, has_traceback in ((Permanent("the file is empty"), False), (ZeroDivisionError("a fault"), True)):
        caplog.clear()
        with pytest.raises(type(error)):
            by_prefect(failing(error))

        records = [record for record in caplog.records if record.name in ("prefect.flow_runs", "prefect.task_runs")]
        assert any(str(error) in record.getMessage() for record in records)
        assert any(record.exc_info for record in records) is has_traceback
