"""Members that are kept are not fitted again; the others are, each in a process on a processor of its own."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.pretraining import make
from pipeline.pretraining.networks import NETWORKS, NetworkPlan

PLANS = tuple(replace(NETWORKS[name], num_series=3) for name in ("yearly", "season-4"))


class Processes:
    """Stands in for `subprocess.run`: keeps what a member would keep, and notes the commands."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.busy: set[str] = set()
        #: the first members wait for each other, which ends only if they run at once
        self.first = threading.Barrier(min(2, len(os.sched_getaffinity(0))), timeout=20)
        self.started: list[str] = []

    def run(self, command: list[str], *, check: bool) -> None:
        assert check
        *_, name, _, member, _, processor = command
        assert processor not in self.busy
        self.busy.add(processor)
        self.started.append(member)
        if len(self.started) <= self.first.parties:
            self.first.wait()
        self.commands.append(command)
        plan = next(plan for plan in PLANS if plan.name == name)
        keep(plan, int(member))
        self.busy.remove(processor)


def keep(plan: NetworkPlan, member: int) -> None:
    file = make._kept_file(plan, member)
    file.parent.mkdir(exist_ok=True)
    np.savez(file, allow_pickle=False, weight=np.full(3, member / 3, np.float32))


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    monkeypatch.chdir(tmp_path)
    processes = Processes()
    monkeypatch.setattr(make.subprocess, "run", processes.run)
    return processes


def test_missing_members_are_fitted_on_all_processors_at_once(processes: Processes) -> None:
    make.fit_missing(PLANS)

    fitted = {(command[3], command[5]) for command in processes.commands}
    assert fitted == {(plan.name, str(n)) for plan in PLANS for n in range(3)}
    assert len(processes.commands) == 6
    # the longest first
    assert [command[3] for command in processes.commands[:2]] == ["season-4", "season-4"]


def test_what_is_kept_is_not_fitted_again_unless_its_plan_has_changed(processes: Processes) -> None:
    plan = PLANS[0]
    for n in range(3):
        keep(plan, n)

    make.fit_missing([plan])
    assert not processes.commands

    other = make._kept_file(replace(plan, seed=1), 0)
    assert not other.exists()


def test_weights_and_card_are_written_alike_each_time(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "FOLDER", tmp_path / "weights")
    plan = replace(PLANS[0], stored_as="float16")
    make.fit_missing([plan])

    def written() -> dict[str, Any]:
        make.write_network(plan)
        return {path.name: path.read_bytes() for path in (tmp_path / "weights").iterdir()}

    first = written()
    assert written() == first
    card = json.loads(first["yearly.json"])
    with np.load(tmp_path / "weights/yearly.npz", allow_pickle=False) as weights:
        assert sorted(weights.files) == ["0.weight", "1.weight", "2.weight"]
        assert weights["1.weight"].dtype == np.float16
    assert card["trained_on"]["series"] == 3
    assert card["made_by"] == "python -m pipeline.pretraining.make yearly"


def test_it_starts_again_with_the_instructions_that_decide_the_bytes_unless_it_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(make.os, "execve", lambda _program, _arguments, environment: started.append(environment))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")

    make.pin_arithmetic()
    for name, value in started[0].items():
        monkeypatch.setenv(name, value)
    make.pin_arithmetic()

    assert len(started) == 1
    assert started[0].items() >= make.ARITHMETIC.items()
