from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest

from flows.cli.console import progress
from pipeline.progress_log import log_progress


@pytest.mark.parametrize("name", ["pipeline", "flows"])
@pytest.mark.parametrize("fails", [False, True])
def test_loggers_are_left_as_they_were(name: str, fails: bool) -> None:
    logger = logging.getLogger(name)
    before = (logger.level, logger.propagate, list(logger.handlers))

    with pytest.raises(ZeroDivisionError) if fails else progress():
        if fails:
            with progress():
                raise ZeroDivisionError

    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_records_after_a_command_reach_the_root_logger(caplog: pytest.LogCaptureFixture) -> None:
    with progress():
        pass

    with caplog.at_level(logging.INFO):
        logging.getLogger("pipeline.anything").info("still here")

    assert caplog.messages == ["still here"]


class Listener(logging.Handler):
    """Remembers what is logged about work that still runs, and where."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = Event()
        self.flow_runs: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        from prefect.context import FlowRunContext

        context = FlowRunContext.get()
        self.flow_runs.append(None if context is None or context.flow_run is None else context.flow_run.id)
        self.heard.set()


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener, after the handlers that were there before: when it has heard a line, they have."""
    listener, logger = Listener(), logging.getLogger("pipeline")
    logger.addHandler(listener)
    try:
        yield listener
    finally:
        logger.removeHandler(listener)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_work_that_takes_long_is_a_line_where_there_is_no_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if is_terminal else "0")

    with progress(), listening() as listener, log_progress("train of milk", interval=0.001):
        assert listener.heard.wait(60)

    assert ("  train of milk has run for " in capsys.readouterr().err) is not is_terminal


@pytest.mark.usefixtures("prefect_api")
def test_a_line_belongs_to_its_run_in_prefect(caplog: pytest.LogCaptureFixture) -> None:
    from prefect import flow
    from prefect.runtime import flow_run

    @flow(persist_result=False)
    def waits() -> str:
        with listening() as listener, log_progress("train of milk", interval=0.001):
            assert listener.heard.wait(60)
        assert set(map(str, listener.flow_runs)) == {flow_run.id}
        return "done"

    with caplog.at_level(logging.INFO, "pipeline"):
        assert waits() == "done"
