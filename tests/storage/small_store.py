"""Values, forecasts and models for tests of the store, small enough to check by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import TypeVar

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import Rejection
from pipeline.forecasting.forecaster import build_manifest, hash_model
from pipeline.ingest.changes import BatchCounts, compare_values
from pipeline.records.lineage import Lineage, ModelVersion, Run
from pipeline.records.training import TrainingRecord
from pipeline.storage.batches import BatchHeader
from pipeline.storage.engine import open_database
from pipeline.storage.models import NewModel
from pipeline.storage.runs import Publication
from pipeline.storage.schema import revision_of
from pipeline.storage.store import Store
from pipeline.timeseries.forecast import Forecast
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.long_values import LongValues
from pipeline.timeseries.observations import TARGET, Observations
from pipeline.training.process_files import TrainedModel
from tests.support.examples import NOW, Batch, months, small_recipe

T = TypeVar("T")

#: an instant after which the examples' forecasts are stale: never, as far as these tests go
NEVER = datetime(2999, 1, 1, tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)


def observed(values: dict[str, dict[str, float]]) -> Observations:
    """Observations from `{series: {month: value}}`."""
    names = tuple(sorted(values))
    told = [(s, month, value) for s, name in enumerate(names) for month, value in sorted(values[name].items())]
    return Observations(
        names=names,
        series=np.array([s for s, _, _ in told], dtype=np.int64),
        period=np.array([month for _, month, _ in told], dtype="datetime64[us]"),
        value=np.array([value for _, _, value in told], dtype=np.float64),
    )


def batch(
    values: dict[str, dict[str, float]], content_hash: str = "content", rejections: Sequence[Rejection] = ()
) -> Batch:
    """A batch that tells these values."""
    return Batch(content_hash=content_hash, observations=observed(values), rejections=tuple(rejections))


def take_in(store: Store, told: Batch, now: datetime = NOW, *, recipe: str = "small") -> datetime:
    """Take a batch in as it is told, whatever it does to the history; when it counts as recorded."""
    small = small_recipe().model_copy(update={"name": recipe})
    values = LongValues(told.observations.series, told.observations.period, told.observations.value)
    header = BatchHeader(recipe=recipe, source=told.source, content_hash=told.content_hash)
    counts = BatchCounts(len(values) + len(told.rejections))
    with store.batches.write(header, now) as intake:
        intake.register([(name, TARGET) for name in told.observations.names])
        change = compare_values(values, intake.stored_values(values, small.grid))
        counts.add(change)
        intake.add(change.new, change.revised)
        intake.finish(counts.as_dict(), told.rejections)
        return intake.recorded_at


def monthly(values: Sequence[float]) -> dict[str, float]:
    """Values by month, from January 2020 on."""
    return dict(zip(months(len(values)), values, strict=True))


def observations_as_of(store: Store, recipe: Recipe, as_of: datetime) -> Observations:
    """All values as they were known at an instant."""
    known = store.batches.latest_as_of(recipe.name, as_of)
    return store.observations.values(recipe, known.batch_id if known else 0)


def told(store: Store, as_of: datetime = FOREVER) -> dict[tuple[str, str], float]:
    """What is known of the small recipe, by series and month."""
    known = observations_as_of(store, small_recipe(), as_of)
    rows = zip(known.series, known.period, known.value, strict=True)
    return {(known.names[s], str(period)[:10]): float(value) for s, period, value in rows}


def forecast(
    mean: Sequence[float] = (100, 110, 120),
    *,
    origin: str = "2023-04-01",
    series: tuple[str, ...] = ("small",),
    baseline: Sequence[float] | None = None,
) -> Forecast:
    """The same three steps for each series; intervals are 5 and 8 to both sides."""
    start = np.datetime64(origin, "us")
    means = np.tile(np.array(mean, dtype=np.float64), (len(series), 1))
    return Forecast(
        series=series,
        origin=start,
        periods=Frequency("MS").after(start, len(mean)),
        mean=means,
        quantiles=means[:, :, None] + np.array([-8.0, -5.0, 0.0, 5.0, 8.0]),
        method=("lstm",) * len(series),
        reason=(None,) * len(series),
        baseline=np.tile(np.array(baseline or mean, dtype=np.float64), (len(series), 1)),
        scale=np.full(len(series), 2.0),
    )


def lineage(data_hash: str = "data", as_of: datetime = NOW) -> Lineage:
    """Where a model or a run comes from."""
    return Lineage(
        as_of=as_of, data_hash=data_hash, recipe_fingerprint=small_recipe().fingerprint, code_version="0.1.0+test"
    )


def publish(
    store: Store,
    made: Forecast,
    model: ModelVersion,
    *,
    data_hash: str = "data",
    as_of: datetime = NOW,
    kind: str = "live",
    expected_next_by: datetime = NEVER,
    now: datetime = NOW,
) -> tuple[Run, bool]:
    """Publish a forecast of the small recipe."""
    publication = Publication(
        recipe=small_recipe(),
        forecast=made,
        model=model,
        lineage=lineage(data_hash, as_of),
        kind=kind,
        expected_next_by=expected_next_by,
        fencing_token=store.leases.fencing_token("small"),
    )
    return store.runs.publish(publication, now)


def model_files(outcome: TrainedModel, note: str = "") -> tuple[dict[str, bytes], str]:
    """The trained model's directory and its hash; with a note in it, it is another model."""
    files = {name: content for name, content in outcome.files.items() if name != "manifest.json"}
    if note:
        files["note.txt"] = note.encode()
    manifest = build_manifest(files) if note else outcome.files["manifest.json"]
    return {**files, "manifest.json": manifest}, hashlib.sha256(manifest).hexdigest()


def add_model(
    store: Store,
    outcome: TrainedModel,
    note: str = "",
    *,
    expected_champion: int | None = None,
    publishes: bool = True,
    now: datetime = NOW,
) -> int:
    """Keep the trained model, or another one if there is a note in it."""
    files, model_hash = model_files(outcome, note)
    challenger = NewModel(
        recipe=small_recipe(),
        record=outcome.record,
        model_hash=model_hash,
        files=files,
        lineage=lineage(),
        expected_champion=expected_champion,
        publishes=publishes,
    )
    return store.models.add(challenger, now)


def record(training: str = "retrain", reason: str = "no model yet", cutoff: str = "2023-04-01") -> TrainingRecord:
    """What a training without a backtest says of itself."""
    return TrainingRecord(
        training=training,
        reason=reason,
        loss=(1.0,),
        validation_loss=(),
        epochs=1,
        num_windows=1,
        num_series=1,
        cutoff=cutoff,
        backtest=None,
        tutorial=(),
    )


def add_untrained(
    store: Store,
    name: str = "first",
    *,
    made: TrainingRecord | None = None,
    as_of: datetime = NOW,
    expected_champion: int | None = None,
    publishes: bool = True,
    fencing_token: int = 0,
    now: datetime = NOW,
) -> ModelVersion:
    """Keep a model of the small recipe; another name is another model."""
    files = {"network.onnx": name.encode(), "forecaster.json": b'{"needs": {}}'}
    files["manifest.json"] = build_manifest(files)
    challenger = NewModel(
        recipe=small_recipe(),
        record=made or record(),
        model_hash=hash_model(files),
        files=files,
        lineage=lineage("data", as_of),
        expected_champion=expected_champion,
        publishes=publishes,
        fencing_token=fencing_token,
    )
    model = store.models.by_version("small", store.models.add(challenger, now))
    assert model is not None
    return model


def at_once(url: str, count: int, work: Callable[[Store], T]) -> list[T | Exception]:
    """Do the same in several workers, each with a database of its own, all starting together."""
    barrier = Barrier(count, timeout=60)

    def worker(_: int) -> T | Exception:
        own = open_database(url)
        try:
            revision_of(own)  # connected before the start
            barrier.wait()
            return work(Store(own))
        except Exception as error:
            return error
        finally:
            own.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(worker, range(count)))
