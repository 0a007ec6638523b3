from __future__ import annotations

import logging

import pytest

from flows.cli.console import progress


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
