"""Publication: staged, counted, compared with what was computed, and then visible, whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused, NewerPublished, Overtaken
from pipeline.forecasting.calibration import Calibration
from pipeline.records.lineage import Lineage, ModelVersion, Run
from pipeline.storage.bulk_load import Column, load, numbers_of_run
from pipeline.storage.engine import Database
from pipeline.storage.leases import refuse_overtaken
from pipeline.storage.mapping import QUANTILE_COLUMNS, run_id_of, run_of
from pipeline.storage.statements import Row, Transaction
from pipeline.timeseries.forecast import NETWORK, Forecast
from pipeline.timeseries.observations import TARGET

#: a larger forecast is staged in committed pieces that nobody sees, and only its header is flipped
MOST_AT_ONCE = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """A forecast that is to go out, and where it comes from."""

    recipe: Recipe
    forecast: Forecast
    model: ModelVersion
    lineage: Lineage
    kind: str
    expected_next_by: datetime
    #: of the recipe's lease when the forecast was begun
    epoch: int
    #: of the network's intervals, already in the forecast; none: they are as the network gives them
    calibration: Calibration | None = None

    @property
    def key(self) -> Mapping[str, Any]:
        """What it is made of: the same again is published already."""
        return {
            "recipe": self.recipe.name,
            "kind": self.kind,
            "origin": self.forecast.origin,
            "data_hash": self.lineage.data_hash,
            "recipe_fingerprint": self.lineage.recipe_fingerprint,
            "model_hash": self.model.model_hash,
        }

    def is_made_as(self, run: Row) -> bool:
        """Whether a run is made of the same."""
        return all(run[name] == value for name, value in self.key.items())

    @property
    def place(self) -> Mapping[str, Any]:
        """Where at most one run is published."""
        return {name: self.key[name] for name in ("recipe", "kind", "origin")}

    @property
    def seen(self) -> Mapping[str, Any]:
        """Whose, and up to when it knows."""
        return {"recipe": self.recipe.name, "kind": self.kind, "as_of": self.lineage.as_of}


@dataclass(frozen=True, slots=True)
class _Staged:
    """A run that nobody sees yet."""

    run_id: str
    run_number: int
    #: of the forecast's series, in its order
    series_ids: npt.NDArray[np.int64]


def publish(publication: Publication, database: Database, now: datetime) -> tuple[Run, bool]:
    """Make a forecast visible, whole; the run, and whether it is a new one.

    A forecast of the same data by the same recipe and model is published already and stays as it is.
    Another one at the same origin is superseded by this one. An interrupted publication is started over.

    Raises:
        Overtaken: another worker took the recipe over, or published from newer data.
        NewerPublished: a backfill of later data is published at the same origin.
        ModelRefused: the database gives back other numbers than were written.
    """
    forecast = publication.forecast
    with database.write() as transaction:
        published = _begin(transaction, publication)
        if published is not None:
            return run_of(published), False
        staged = _stage(transaction, publication)
        if forecast.num_rows <= MOST_AT_ONCE:
            _load(transaction, staged, forecast, slice(None))
            return _flip(transaction, staged, publication, now), True
    for series in _pieces(forecast):
        with database.write() as transaction:
            _require_staged(transaction, staged)
            _load(transaction, staged, forecast, series)
    with database.write() as transaction:
        _begin(transaction, publication)
        _require_staged(transaction, staged)
        return _flip(transaction, staged, publication, now), True


def _begin(transaction: Transaction, publication: Publication) -> Row | None:
    """Lock the recipe and see that we may: the run, if this forecast is published already."""
    name = publication.recipe.name
    transaction.row("lock_recipe", recipe=name)
    refuse_overtaken(transaction, name, publication.epoch, "this forecast was made")
    earlier = transaction.rows("runs_at_origin", **publication.place)
    published = next((run for run in earlier if run["status"] == "published"), None)
    if published is None or publication.is_made_as(published):
        return published
    if published["as_of"] <= publication.lineage.as_of:
        return None
    if publication.kind == "live":
        raise Overtaken(f"run {published['run_id']} was published from newer data than this forecast: run again")
    return _superseded_before(publication, published, earlier)


def _superseded_before(publication: Publication, published: Row, earlier: Sequence[Row]) -> Row:
    """The backfill as of the same instant that a later one at this origin has superseded: it stays as it is."""
    as_of = publication.lineage.as_of
    for run in earlier:
        if run["as_of"] == as_of and publication.is_made_as(run):
            return run
    raise NewerPublished(
        f"run {published['run_id']} is made of what was known at {published['as_of'].isoformat()}: a forecast as of "
        f"{as_of.isoformat()} does not take its place"
    )


def _stage(transaction: Transaction, publication: Publication) -> _Staged:
    """Write the header, in place of what an interrupted publication left."""
    forecast, lineage = publication.forecast, publication.lineage
    for table in ("forecasts", "run_series", "run_steps", "runs"):
        transaction.execute(f"delete_staged_{table}", **publication.place)
    earlier = transaction.rows("runs_at_origin", **publication.place)
    run_id = run_id_of(publication.recipe, forecast, publication.kind, len(earlier))
    row = transaction.row(
        "insert_run",
        run_id=run_id,
        num_series=len(forecast.series),
        num_fallback=sum(method != NETWORK for method in forecast.method),
        num_rows=forecast.num_rows,
        content_hash=forecast.content_hash,
        expected_next_by=publication.expected_next_by,
        model_version=publication.model.model_version,
        as_of=lineage.as_of,
        code_version=lineage.code_version,
        calibration=publication.calibration.as_text() if publication.calibration else None,
        **publication.key,
    )
    assert row is not None
    known = transaction.columns("series_of_recipe", recipe=publication.recipe.name, variable=TARGET)
    numbers = dict(zip(known[1], known[0], strict=True))
    series_ids = np.array([numbers[name] for name in forecast.series], np.int64)
    staged = _Staged(run_id, int(row["run_number"]), series_ids)
    steps = np.arange(1, forecast.horizon + 1, dtype=np.int32)
    load(transaction, "run_steps", {"run_number": staged.run_number, "step": steps, "period": forecast.periods})
    alike: dict[tuple[str, str | None], list[int]] = {}
    for n, said in enumerate(zip(forecast.method, forecast.reason, strict=True)):
        alike.setdefault(said, []).append(n)
    for (method, reason), which in alike.items():
        order = np.array(which)[np.argsort(series_ids[which])]
        columns: dict[str, Column] = {"run_number": staged.run_number, "series_id": series_ids[order]}
        columns |= {"method": method, "reason": reason, "scale": forecast.scale[order]}
        load(transaction, "run_series", columns)
    return staged


def _pieces(forecast: Forecast) -> Iterator[slice]:
    size = max(1, MOST_AT_ONCE // forecast.horizon)
    for start in range(0, len(forecast.series), size):
        yield slice(start, start + size)


def _load(transaction: Transaction, staged: _Staged, forecast: Forecast, series: slice) -> None:
    """Write the numbers of some series."""
    order = np.argsort(staged.series_ids[series])
    ids, horizon = staged.series_ids[series][order], forecast.horizon
    mean, quantiles, baseline = (each[series][order] for each in (forecast.mean, forecast.quantiles, forecast.baseline))
    columns: dict[str, Column] = {
        "run_number": staged.run_number,
        "series_id": np.repeat(ids, horizon),
        "step": np.tile(np.arange(1, horizon + 1, dtype=np.int32), len(ids)),
        "mean": mean.ravel(),
        **{column: quantiles[:, :, q].ravel() for q, column in enumerate(QUANTILE_COLUMNS)},
        "baseline": baseline.ravel(),
    }
    load(transaction, "forecasts", columns)


def _require_staged(transaction: Transaction, staged: _Staged) -> None:
    if transaction.row("lock_staged_run", run_number=staged.run_number) is None:
        raise Overtaken(f"another worker began to publish in place of run {staged.run_id}: run again")


def _flip(transaction: Transaction, staged: _Staged, publication: Publication, now: datetime) -> Run:
    """Compare what is staged with what was computed, and let it out."""
    if not _is_as_computed(transaction, staged, publication.forecast):
        raise ModelRefused(
            f"run {staged.run_id}: the database gives back other numbers than were written; nothing was published"
        )
    transaction.execute("supersede_run", run_id=staged.run_id, **publication.place)
    transaction.execute("publish_run", run_id=staged.run_id, published_at=now)
    transaction.execute("unmark_scored", **publication.seen)
    if publication.kind == "live":
        reference = f"{publication.model.model_version} as {staged.run_id}"
        recipe = publication.recipe.name
        transaction.execute("insert_outbox", recipe=recipe, kind="publication", reference=reference, created_at=now)
    row = transaction.row("run", run_id=staged.run_id)
    assert row is not None
    return run_of(row)


def _is_as_computed(transaction: Transaction, staged: _Staged, forecast: Forecast) -> bool:
    """Whether the database gives back, to the last bit, what the header's hash is of."""
    order = np.argsort(staged.series_ids)
    told = transaction.columns("series_of_run", run_number=staged.run_number)
    steps = transaction.columns("steps_of_run", run_number=staged.run_number)
    numbers = numbers_of_run(transaction, staged.run_number)
    columns = [forecast.mean[:, :, None], forecast.quantiles, forecast.baseline[:, :, None]]
    expected = np.concatenate(columns, axis=2)[order]
    return (
        np.array_equal(told[0], staged.series_ids[order])
        and told[2] == tuple(forecast.method[s] for s in order)
        and told[3] == tuple(forecast.reason[s] for s in order)
        and np.array_equal(np.array(told[4]), forecast.scale[order])
        and np.array_equal(np.array(steps[0], "datetime64[us]"), forecast.periods)
        and np.array_equal(numbers, expected.reshape(-1, expected.shape[2]))
    )


def forecast_in(transaction: Transaction, run_number: int, origin: np.datetime64) -> Forecast:
    """The forecast that a run holds.

    Raises:
        ValueError: it does not hold each step of each series.
    """
    _, series, method, reason, scale = transaction.columns("series_of_run", run_number=run_number) or ((),) * 5
    periods = np.array([row["period"] for row in transaction.rows("steps_of_run", run_number=run_number)])
    numbers = numbers_of_run(transaction, run_number).reshape(len(series), len(periods), 2 + len(QUANTILE_COLUMNS))
    order = sorted(range(len(series)), key=series.__getitem__)
    return Forecast(
        series=tuple(series[s] for s in order),
        origin=origin,
        periods=periods.astype("datetime64[us]"),
        mean=numbers[order, :, 0],
        quantiles=numbers[order, :, 1:-1],
        method=tuple(method[s] for s in order),
        reason=tuple(reason[s] for s in order),
        baseline=numbers[order, :, -1],
        scale=np.array(scale, np.float64)[order],
    )
