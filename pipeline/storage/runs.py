"""Runs: published forecasts, which are staged, verified and then made visible in one step."""

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
from pipeline.records.lineage import Lineage, ModelVersion, Run, RunKind
from pipeline.storage.bulk_load import Column, load, read_numbers_of_run
from pipeline.storage.engine import Database
from pipeline.storage.leases import refuse_stale_token
from pipeline.storage.mapping import run_from_row
from pipeline.storage.statements import Row, Transaction
from pipeline.timeseries.forecast import NETWORK, QUANTILE_COLUMNS, Forecast
from pipeline.timeseries.observations import TARGET

#: more rows than any recipe publishes
MAX_ROWS_IN_VIEW = 2**53
#: a forecast with more rows is staged in several committed transactions
MAX_ROWS_PER_TRANSACTION = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """A forecast that is to be published, and what it was made from."""

    recipe: Recipe
    forecast: Forecast
    #: None: no network could be trained yet, and baselines forecast every series
    model: ModelVersion | None
    lineage: Lineage
    kind: RunKind
    #: when consumers may expect the next run
    expected_next_by: datetime
    #: of the recipe's lease when the forecast was begun
    fencing_token: int
    #: of the network's intervals, already applied to the forecast; None: uncalibrated
    calibration: Calibration | None = None

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Columns that identify what the forecast is made from: two runs with the same inputs are the same run."""
        return {
            **self.slot,
            "data_hash": self.lineage.data_hash,
            "recipe_fingerprint": self.lineage.recipe_fingerprint,
            "model_hash": self.model.model_hash if self.model else None,
        }

    @property
    def slot(self) -> Mapping[str, Any]:
        """Columns that identify where at most one run is published at a time."""
        return {"recipe": self.recipe.name, "kind": self.kind, "origin": self.forecast.origin}

    def has_inputs_of(self, run: Row) -> bool:
        """Whether a run was made from the same inputs."""
        return all(run[name] == value for name, value in self.inputs.items())


@dataclass(frozen=True, slots=True)
class RunRepository:
    """Runs in one database."""

    database: Database

    def publish(self, publication: Publication, now: datetime) -> tuple[Run, bool]:
        """Publish a forecast as a whole; the run, and whether it is new.

        If a forecast from the same inputs is published already, that run stays and nothing is written. Another run at
        the same origin is superseded. An interrupted publication starts over.

        Raises:
            Overtaken: another worker leased the recipe, or published from newer data.
            NewerPublished: a backfill from newer data is published at the same origin.
            ModelRefused: the numbers read back from the database are not those that were written.
        """
        forecast = publication.forecast
        with self.database.write() as transaction:
            published = _lock_and_find_published(transaction, publication)
            if published is not None:
                return run_from_row(published), False
            staged = _stage(transaction, publication)
            if forecast.num_rows <= MAX_ROWS_PER_TRANSACTION:
                _load_forecast(transaction, staged, forecast, slice(None))
                return _make_visible(transaction, staged, publication, now), True
        for series in _slices(forecast):
            with self.database.write() as transaction:
                _require_staged(transaction, staged)
                _load_forecast(transaction, staged, forecast, series)
        with self.database.write() as transaction:
            _lock_and_find_published(transaction, publication)
            _require_staged(transaction, staged)
            return _make_visible(transaction, staged, publication, now), True

    def row(self, run_id: str) -> Row | None:
        """All columns of a run; None if there is no such run."""
        with self.database.read() as transaction:
            return transaction.row("run", run_id=run_id)

    def read_forecast(self, run_id: str) -> Forecast:
        """The forecast of a run.

        Raises:
            LookupError: there is no such run.
            ValueError: rows are missing.
        """
        with self.database.read() as transaction:
            run = transaction.one("run", run_id=run_id)
            return read_forecast(transaction, run["run_number"], run["origin"])

    def latest_forecasts(self, recipe: str, series: str | None = None, *, limit: int | None = None) -> Sequence[Row]:
        """The rows of the view `latest_forecasts`, of one series or of all, or so many of the first ones."""
        with self.database.read() as transaction:
            return transaction.rows("latest_forecasts", recipe=recipe, series=series, most=limit or MAX_ROWS_IN_VIEW)

    def latest_run_id(self, recipe: str) -> str | None:
        """The published live run that consumers see; None before the first."""
        with self.database.read() as transaction:
            row = transaction.row("latest_live_run", recipe=recipe)
        return row["run_id"] if row else None

    def latest_origin(self, recipe: str) -> np.datetime64 | None:
        """The origin of the published live run that consumers see; None before the first."""
        with self.database.read() as transaction:
            row = transaction.row("latest_live_run", recipe=recipe)
        return row["origin"] if row else None

    def newest_run_ids(self, recipe: str | None = None) -> list[str]:
        """The last published runs, newest first; of one recipe or of all."""
        with self.database.read() as transaction:
            return [row["run_id"] for row in transaction.rows("newest_run_ids", recipe=recipe)]


@dataclass(frozen=True, slots=True)
class _StagedRun:
    """A run that no view shows yet."""

    run_id: str
    run_number: int
    #: ids of the forecast's series, in its order: [S]
    series_ids: npt.NDArray[np.int64]


def _lock_and_find_published(transaction: Transaction, publication: Publication) -> Row | None:
    """Lock the recipe; the run if the same forecast is published already, None if it may be published now."""
    recipe = publication.recipe.name
    transaction.row("lock_recipe", recipe=recipe)
    refuse_stale_token(transaction, recipe, publication.fencing_token, "this forecast was made")
    earlier = transaction.rows("runs_at_origin", **publication.slot)
    published = next((run for run in earlier if run["status"] == "published"), None)
    if published is None or publication.has_inputs_of(published):
        return published
    if published["as_of"] <= publication.lineage.as_of:
        return None
    if publication.kind == "live":
        raise Overtaken(f"run {published['run_id']} was published from newer data than this forecast: run again")
    return _find_superseded(publication, published, earlier)


def _find_superseded(publication: Publication, published: Row, earlier: Sequence[Row]) -> Row:
    """The same backfill, if it was published before a backfill of newer data superseded it.

    Raises:
        NewerPublished: it was not.
    """
    as_of = publication.lineage.as_of
    for run in earlier:
        if run["as_of"] == as_of and publication.has_inputs_of(run):
            return run
    raise NewerPublished(
        f"run {published['run_id']} was made from data as of {published['as_of'].isoformat()}: a forecast as of "
        f"{as_of.isoformat()} does not replace it"
    )


def _stage(transaction: Transaction, publication: Publication) -> _StagedRun:
    """Write the run's header, series and steps; remove what an interrupted publication left."""
    for table in ("forecasts", "run_series", "run_steps", "runs"):
        transaction.execute(f"delete_staged_{table}", **publication.slot)
    forecast = publication.forecast
    run_id, run_number = _insert_run(transaction, publication)
    columns = transaction.columns("series_of_recipe", recipe=publication.recipe.name, variable=TARGET)
    id_of = dict(zip(columns[1], columns[0], strict=True))
    series_ids = np.array([id_of[name] for name in forecast.series], np.int64)
    steps = np.arange(1, forecast.horizon + 1, dtype=np.int32)
    load(transaction, "run_steps", {"run_number": run_number, "step": steps, "period": forecast.periods})
    staged = _StagedRun(run_id, run_number, series_ids)
    _load_series(transaction, staged, forecast)
    return staged


def _insert_run(transaction: Transaction, publication: Publication) -> tuple[str, int]:
    """Insert the run's header; its name and number."""
    forecast, lineage = publication.forecast, publication.lineage
    num_earlier = len(transaction.rows("runs_at_origin", **publication.slot))
    run_id = _run_id(publication, num_earlier)
    row = transaction.one(
        "insert_run",
        run_id=run_id,
        num_series=len(forecast.series),
        num_fallback=sum(method != NETWORK for method in forecast.method),
        num_rows=forecast.num_rows,
        content_hash=forecast.content_hash,
        expected_next_by=publication.expected_next_by,
        model_version=publication.model.model_version if publication.model else None,
        as_of=lineage.as_of,
        recorded_by=lineage.recorded_by,
        code_version=lineage.code_version,
        calibration=publication.calibration.without_series().as_text() if publication.calibration else None,
        **publication.inputs,
    )
    return run_id, int(row["run_number"])


def _run_id(publication: Publication, num_earlier: int) -> str:
    """A readable name: the recipe, the origin, and the number of this publication at that origin."""
    origin = publication.forecast.origin
    text = np.datetime_as_string(origin, unit="D" if origin == origin.astype("M8[D]") else "s")
    kind = "-backfill" if publication.kind == "backfill" else ""
    return f"{publication.recipe.name}-{text}{kind}-{num_earlier + 1}"


def _load_series(transaction: Transaction, staged: _StagedRun, forecast: Forecast) -> None:
    """Write what a run keeps of each series, one load for all series with the same method and reason."""
    volatility, factor = forecast.volatility_group, forecast.interval_factor
    has_baseline_width = forecast.has_baseline_width
    if has_baseline_width is None:
        has_baseline_width = np.zeros(len(forecast.series), bool)
    groups: dict[tuple[str, str | None, int], list[int]] = {}
    steps = forecast.num_network_steps.tolist()
    for s, how in enumerate(zip(forecast.method, forecast.reason, steps, strict=True)):
        groups.setdefault(how, []).append(s)
    for (method, reason, network_steps), members in groups.items():
        order = np.array(members)[np.argsort(staged.series_ids[members])]
        columns: dict[str, Column] = {
            "run_number": staged.run_number,
            "series_id": staged.series_ids[order],
            "method": method,
            "reason": reason,
            "network_steps": np.full(len(order), network_steps, np.int32),
            "scale": forecast.scale[order],
            "volatility_group": None if volatility is None else volatility[order].astype(np.int32),
            "interval_factor": None if factor is None else factor[order],
            "has_baseline_width": has_baseline_width[order].astype(np.int32),
        }
        load(transaction, "run_series", columns)


def _slices(forecast: Forecast) -> Iterator[slice]:
    """The forecast's series in slices of at most `MAX_ROWS_PER_TRANSACTION` rows."""
    size = max(1, MAX_ROWS_PER_TRANSACTION // forecast.horizon)
    for start in range(0, len(forecast.series), size):
        yield slice(start, start + size)


def _load_forecast(transaction: Transaction, staged: _StagedRun, forecast: Forecast, series: slice) -> None:
    """Write the numbers of some series, ascending by series id."""
    order = np.argsort(staged.series_ids[series])
    ids, horizon = staged.series_ids[series][order], forecast.horizon
    mean, baseline = forecast.mean[series][order], forecast.baseline[series][order]  # [n, H]
    quantiles = forecast.quantiles[series][order]  # [n, H, Q]
    columns: dict[str, Column] = {
        "run_number": staged.run_number,
        "series_id": np.repeat(ids, horizon),
        "step": np.tile(np.arange(1, horizon + 1, dtype=np.int32), len(ids)),
        "mean": mean.ravel(),
        **{column: quantiles[:, :, q].ravel() for q, column in enumerate(QUANTILE_COLUMNS)},
        "baseline": baseline.ravel(),
    }
    load(transaction, "forecasts", columns)


def _require_staged(transaction: Transaction, staged: _StagedRun) -> None:
    """Lock the staged run.

    Raises:
        Overtaken: another worker has removed it.
    """
    if transaction.row("lock_staged_run", run_number=staged.run_number) is None:
        raise Overtaken(f"another worker began to publish in place of run {staged.run_id}: run again")


def _make_visible(transaction: Transaction, staged: _StagedRun, publication: Publication, now: datetime) -> Run:
    """Verify the staged run, supersede the run that was published at its origin, and publish it."""
    if not _is_as_computed(transaction, staged, publication.forecast):
        raise ModelRefused(
            f"run {staged.run_id}: the database gives back other numbers than were written; nothing was published"
        )
    recipe, kind = publication.recipe.name, publication.kind
    transaction.execute("supersede_run", run_id=staged.run_id, **publication.slot)
    transaction.execute("publish_run", run_id=staged.run_id, published_at=now)
    transaction.execute("unmark_scored", recipe=recipe, kind=kind, as_of=publication.lineage.as_of)
    if kind == "live" and publication.model is not None:
        reference = f"{publication.model.model_version} as {staged.run_id}"
        transaction.execute("insert_outbox", recipe=recipe, kind="publication", reference=reference, created_at=now)
    return run_from_row(transaction.one("run", run_id=staged.run_id))


def _is_as_computed(transaction: Transaction, staged: _StagedRun, forecast: Forecast) -> bool:
    """Whether the rows in the database equal the forecast bit for bit."""
    order = np.argsort(staged.series_ids)
    columns = transaction.columns("series_of_run", run_number=staged.run_number)
    series_ids, _, methods, reasons, network_steps, scales, _ = columns
    (periods,) = transaction.columns("steps_of_run", run_number=staged.run_number)
    numbers = read_numbers_of_run(transaction, staged.run_number)
    parts = [forecast.mean[:, :, None], forecast.quantiles, forecast.baseline[:, :, None]]
    computed = np.concatenate(parts, axis=2)[order]  # [S, H, 1 + Q + 1]
    return (
        np.array_equal(series_ids, staged.series_ids[order])
        and methods == tuple(forecast.method[s] for s in order)
        and reasons == tuple(forecast.reason[s] for s in order)
        and np.array_equal(network_steps, forecast.num_network_steps[order])
        and np.array_equal(np.array(scales), forecast.scale[order])
        and np.array_equal(np.array(periods, "datetime64[us]"), forecast.periods)
        and np.array_equal(numbers, computed.reshape(-1, computed.shape[2]))
    )


def read_forecast(transaction: Transaction, run_number: int, origin: np.datetime64) -> Forecast:
    """The forecast in the rows of a run, series in the order of their names.

    Raises:
        ValueError: a step of a series is missing.
    """
    columns = transaction.columns("series_of_run", run_number=run_number)
    _, series, method, reason, network_steps, scale, interval_factor = columns or ((),) * 7
    periods = np.array([row["period"] for row in transaction.rows("steps_of_run", run_number=run_number)])
    numbers = read_numbers_of_run(transaction, run_number).reshape(len(series), len(periods), 2 + len(QUANTILE_COLUMNS))
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
        network_steps=tuple(network_steps[s] for s in order),
        interval_factor=np.array(interval_factor, np.float64)[order],
    )
