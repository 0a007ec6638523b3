"""A command through the real door, in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flows.cli.app import main
from tests.end_to_end.shell import Typed


@pytest.fixture
def types(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """A command in that folder, which has the recipes and gets the stores."""
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", f"sqlite:///{folder}/store.db")
    monkeypatch.setenv("NEXTPERIOD_RECIPES", str(folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")

    def typed(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nextperiod", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return typed
