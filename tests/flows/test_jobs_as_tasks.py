from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prefect import flow
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings

from flows import support
from pipeline.errors import Permanent, Transient

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "RETRY_AFTER_SECONDS", [0, 0, 0])


def carried_out(job: Callable[[], str]) -> str:
    @flow(persist_result=False)
    def alone() -> str:
        return str(support.as_task(job)())

    return alone()


def test_a_transient_error_is_tried_again() -> None:
    calls = []

    def away_once() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise Transient("away")
        return "done"

    assert carried_out(away_once) == "done"
    assert len(calls) == 2


def test_a_transient_error_that_stays_is_raised_after_three_retries() -> None:
    calls = []

    def away() -> str:
        calls.append(1)
        raise Transient("still away")

    with pytest.raises(Transient, match="still away"):
        carried_out(away)
    assert len(calls) == 4


@pytest.mark.parametrize("error", [Permanent("a person must act"), ValueError("a fault of ours")])
def test_another_error_is_not_tried_again(error: Exception) -> None:
    calls = []

    def broken() -> str:
        calls.append(1)
        raise error

    with pytest.raises(type(error), match=str(error)):
        carried_out(broken)
    assert len(calls) == 1


def test_a_result_is_not_kept_even_where_prefect_keeps_them(tmp_path: Path) -> None:
    def give() -> str:
        return "a result"

    with temporary_settings(updates={PREFECT_RESULTS_PERSIST_BY_DEFAULT: True, PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        assert carried_out(give) == "a result"

    assert list(tmp_path.rglob("*")) == []
