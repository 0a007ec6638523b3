"""Days of a recipe of daily values, one delivery each: revisions, days without news, a series that comes later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from flows.context import RunContext
from flows.steps import run_cycle
from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.jobs import train
from pipeline.jobs.deliver_outbox import deliver_outbox
from pipeline.jobs.ingest import ingest_source
from pipeline.jobs.train import train_model
from pipeline.records.training import PROMOTED, GateRecord, TrainingRecord
from pipeline.storage.store import Store
from pipeline.tracking.registry import Registry
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainedModel, TrainingJob
from pipeline.training.progress import OnProgress

DAY = timedelta(days=1)
#: the first day's cycle; its newest period is the day before
START = datetime(2026, 3, 1, 6, tzinfo=UTC)
#: days of history that the first delivery brings
BEFORE = 30

RECIPE = """
name = "daily"
frequency = "D"
season_length = 7
horizon = 3
max_gap = 2

[source]
kind = "csv"
path = "daily.csv"
period = "day"
value = "sold"
series = "shop"
max_revised = 1.0

[model]
architecture = "vanilla"
units = 4
context = 10

[training]
epochs = 1
batch_size = 64
seed = {seed}
retrain_after = {retrain_after}
time_limit_minutes = 5
"""


def daily_recipe(folder: Path, *, seed: int = 0, retrain_after: int = 20) -> Recipe:
    """Three days ahead; another seed is another recipe under the same name."""
    text = RECIPE.format(seed=seed, retrain_after=retrain_after)
    (folder / "daily.toml").write_text(text, "utf-8")
    return parse_recipe(text, where="daily.toml", folder=folder)


def delivered(day: int) -> str:
    """The whole file of a day; the same day gives the same file.

    Every sixth day brings no new period and revises one, every fifth brings nothing at all, every fourth a new
    period and a revision. Shop c opens on day 4 and has too little history for the network for some days.
    """
    told = {(shop, n): _value(shop, n) for shop in "ab" for n in range(-BEFORE, 1)}
    for today in range(1, day + 1):
        brings = "nothing" if today % 5 == 0 else "a revision" if today % 6 == 0 else "a period"
        shops = [shop for shop in ("a", "b", "c") if shop != "c" or today >= 4]
        newest = max(n for _, n in told)
        if brings == "a period":
            told |= {(shop, newest + 1): _value(shop, newest + 1) for shop in shops}
        if brings == "a revision" or (brings == "a period" and today % 4 == 0):
            shop, back = shops[today % 2], 1 + today % 3
            told[shop, newest - back] += 1.5 + today
    lines = [f"{shop},{(START + (n - 1) * DAY).date()},{value:.3f}\n" for (shop, n), value in sorted(told.items())]
    return "shop,day,sold\n" + "".join(lines)


def _value(shop: str, n: int) -> float:
    rng = np.random.default_rng([ord(shop), n + BEFORE])
    return float(100 + 20 * "abc".index(shop) + 8 * np.sin(2 * np.pi * n / 7) + 0.3 * n + rng.normal())


def at_work(recipe: Recipe, store: Store, now: datetime) -> RunContext:
    """The recipe opened at an instant; its steps are carried out once, and nobody waits for MLflow."""

    def as_step(job: Callable[..., Any]) -> Callable[..., Any]:
        if job is train_model:
            return lambda *arguments, **options: job(*arguments, **{**options, "registry": None})
        return (lambda *_, **__: True) if job is deliver_outbox else job

    def clock() -> datetime:
        return now

    registry = Registry("sqlite://", clock)
    return RunContext(recipe=recipe, store=store, registry=registry, clock=clock, now=now, as_step=as_step)


def live(recipe: Recipe, store: Store, days: range) -> list[dict[str, Any]]:
    """A cycle each day, at its own instant, on what is delivered that day."""
    facts = []
    for day in days:
        (recipe.folder / "daily.csv").write_text(delivered(day), "utf-8")
        facts.append(run_cycle(at_work(recipe, store, START + day * DAY)))
    return facts


def take_in_days(recipe: Recipe, store: Store, days: range) -> None:
    """The same deliveries, recorded at the same instants, and nothing else."""
    store.recipes.register(recipe)
    for day in days:
        (recipe.folder / "daily.csv").write_text(delivered(day), "utf-8")
        ingest_source(recipe, store, START + day * DAY)


#: every challenger publishes, so that a life has several models; the gate has tests of its own
LET_THROUGH = GateRecord(outcome=PROMOTED, reason="let through")


@dataclass(frozen=True, slots=True)
class Remembered:
    """Training in earnest the first time that it is asked for; what it made is kept in a folder, for other processes too."""

    folder: Path

    def __call__(self, job: TrainingJob, _on_progress: OnProgress | None = None) -> TrainedModel:
        """What the training makes, with the reason for which it is asked for now."""
        asked = (
            job.panel.data_hash,
            job.recipe.training_fingerprint,
            job.training,
            job.champion and job.champion["manifest.json"],
        )
        made = self.folder / hashlib.sha256(repr(asked).encode()).hexdigest()
        if not made.exists():
            self._keep(run_training(job), made)
        files = {path.name: path.read_bytes() for path in sorted((made / "model").iterdir())}
        record = TrainingRecord.model_validate_json((made / "record.json").read_bytes())
        return TrainedModel(
            files=files,
            keras_archive=(made / "network.keras").read_bytes(),
            record=record.model_copy(update={"reason": job.reason, "gate": LET_THROUGH}),
        )

    def _keep(self, outcome: TrainedModel, made: Path) -> None:
        (made / "model").mkdir(parents=True)
        for name, content in outcome.files.items():
            (made / "model" / name).write_bytes(content)
        (made / "network.keras").write_bytes(outcome.keras_archive)
        (made / "record.json").write_text(outcome.record.model_dump_json())


@contextmanager
def training_once(folder: Path) -> Iterator[None]:
    """What is trained twice on the same data takes the time of one training."""
    with patch.object(train, "run_training", Remembered(folder)):
        yield
