"""The forecast page from the store: read what it shows, bounded in size, and write it as files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe, recipe_from_definition
from pipeline.errors import InvalidArgument
from pipeline.jobs.alerts import Reason, find_reasons
from pipeline.records.training import PROMOTED
from pipeline.reporting.dashboard import (
    ForecastRun,
    LogEntry,
    ModelRow,
    RecipeCard,
    RecipePage,
    RejectedRow,
    SeriesMethod,
    Sparkline,
    StepScores,
    page_path,
    render_overview,
    render_recipe,
)
from pipeline.storage.statements import Row
from pipeline.storage.store import Store
from pipeline.text import counted
from pipeline.timeseries.frequency import Periods

Array = npt.NDArray[np.float64]

#: series of a recipe that its page shows, unless asked for another number
USUAL_SERIES = 1000
#: about 10 MB of numbers: of a recipe with a long horizon, fewer series fit
_MOST_NUMBERS = 1_500_000
#: history of a series: so many seasons, horizons and periods, whichever is most, up to a limit
_SEASONS, _HORIZONS, _LEAST_PERIODS, _MOST_PERIODS = 4, 3, 120, 400
#: the newest runs whose scores count, as long as they forecast no more steps than this together
_SCORED_RUNS, _SCORED_ROWS = 60, 2_000_000
#: rows of each list
_MOST_ROWS = 50
#: numbers of a step: five of the newest run, three of the previous one, five scores
_NUMBERS_PER_STEP = 13
_TRAININGS = {"retrain": "Retrain from scratch", "fine-tune": "Fine-tune the model", "keep": "Keep the model"}
#: name of the file by which a later call knows its own folder: a JSON list of the files that were written there
MARK = ".nextperiod-dashboard"
INDEX = "index.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenDashboard:
    """What was written."""

    folder: str
    #: the page to open first
    index: str
    num_recipes: int
    num_bytes: int


def write_dashboard(store: Store, folder: Path, now: datetime, *, num_series: int = USUAL_SERIES) -> WrittenDashboard:
    """Write the overview and a page for each recipe; each file is replaced as a whole.

    Pages that an earlier call wrote and that are no longer part of it are removed. Other files stay.

    Raises:
        InvalidArgument: the folder has files that no earlier call wrote, or cannot be written.
    """
    earlier = _own_files(folder)
    try:
        written = list(_write_pages(store, folder, now, earlier, num_series=num_series))
        for name in earlier - {path for path, _ in written}:
            if page_path(Path(name).stem) == name:
                (folder / name).unlink(missing_ok=True)
        _replace(folder / MARK, json.dumps([path for path, _ in written]))
    except OSError as error:
        raise InvalidArgument(f"--out {folder}: {error.strerror or error}: expected a folder to write into") from None
    return WrittenDashboard(
        folder=str(folder),
        index=str(folder / INDEX),
        num_recipes=len(written) - 1,
        num_bytes=sum(num_bytes for _, num_bytes in written),
    )


def _write_pages(
    store: Store, folder: Path, now: datetime, earlier: frozenset[str], *, num_series: int
) -> Iterator[tuple[str, int]]:
    """Write the pages of the recipes, then the overview, which leads to them; path and size of each."""
    cards = read_cards(store)
    paths = [page_path(card.recipe) for card in cards if card.has_page] + [INDEX]
    for path in paths:
        if path not in earlier and (folder / path).exists():
            raise InvalidArgument(f"--out {folder}: {path} is there, and no dashboard wrote it: name another folder")
    (folder / page_path("any")).parent.mkdir(parents=True, exist_ok=True)
    _replace(folder / MARK, json.dumps(sorted({*earlier, *paths})))  # an interruption leaves no file without an owner
    for card in cards:
        page = read_recipe_page(store, card, num_series=num_series)
        if page is not None:
            path = page_path(card.recipe)
            yield path, _replace(folder / path, render_recipe(page, built_at=now))
    yield INDEX, _replace(folder / INDEX, render_overview(cards, built_at=now))


def _own_files(folder: Path) -> frozenset[str]:
    """The files that an earlier call wrote into a folder.

    Raises:
        InvalidArgument: there are files, but no call wrote any.
    """
    try:
        mark = folder / MARK
        if mark.is_file():
            return frozenset(json.loads(mark.read_text("utf-8")))
        has_files = folder.exists() and any(folder.iterdir())
    except (OSError, TypeError, ValueError) as error:
        raise InvalidArgument(f"--out {folder}: {error}: expected a new or an empty folder") from None
    if has_files:
        raise InvalidArgument(
            f"--out {folder}: there are files that no dashboard wrote: expected a new or an empty folder, or one that "
            "`nextperiod dashboard` wrote before"
        )
    return frozenset()


def _replace(path: Path, text: str) -> int:
    """Write a file so that a reader sees the old or the new one, never a part; its size."""
    content = text.encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return len(content)


def read_cards(store: Store) -> list[RecipeCard]:
    """What the overview says of every recipe that was ever run."""
    reasons = find_reasons(store)
    return [_card(store, row, reasons) for row in store.recipes.status()]


def read_card(store: Store, recipe: str) -> RecipeCard | None:
    """What the overview says of one recipe; None: it was never run."""
    row = next((row for row in store.recipes.status() if row["recipe"] == recipe), None)
    return None if row is None else _card(store, row, find_reasons(store, recipe))


def _card(store: Store, row: Row, reasons: Sequence[Reason]) -> RecipeCard:
    name = row["recipe"]
    own_reasons = [(reason.kind, reason.text) for reason in reasons if reason.recipe == name]
    version = row["model_version"]
    model = None if version is None else store.models.by_version(name, version)
    facts = {
        key: row[key]
        for key in (
            "recipe", "published_at", "expected_next_by", "model_version", "last_attempt_at", "last_attempt_status",
        )
    }  # fmt: skip
    card = RecipeCard(
        **facts,
        is_stale=bool(row["is_stale"]),
        num_series=row["num_series"] or 0,
        num_fallback=row["num_fallback"] or 0,
        trained_at=model.trained_at if model else None,
        skill=model.skill if model else None,
        reasons=tuple(own_reasons),
    )
    recipe = stored_recipe(store, name)
    if recipe is None:
        text = "an earlier release stored it with keys that this one does not know: run it again"
        return replace(card, has_page=False, reasons=(*card.reasons, ("recipe", text)))
    origin = row["latest_origin"]
    return replace(
        card,
        description=recipe.description,
        origin=None if origin is None else recipe.labels.text(origin),
        sparkline=_sparkline(store, recipe),
    )


def stored_recipe(store: Store, name: str) -> Recipe | None:
    """The recipe as it ran last; None: this release does not know its keys."""
    definition = store.recipes.current_definition(name)
    try:
        return None if definition is None else recipe_from_definition(json.loads(definition))
    except (KeyError, ValueError):
        return None


def _sparkline(store: Store, recipe: Recipe) -> Sparkline | None:
    """The end of the history of the recipe's first series, and its forecast."""
    newest, _, _ = _runs(store, recipe)
    first = store.dashboard.first_series(newest["run_number"]) if newest else None
    if newest is None or first is None:
        return None
    ids = (first["series_id"],)
    run = _forecast_run(store, newest, ids)
    length = max(2 * recipe.season, 2 * recipe.horizon, 24)
    periods, history = _history(store, recipe, ids, length=min(length, _LEAST_PERIODS), run=run)
    return Sparkline(series=first["series"], history=history[0, periods <= run.origin], forecast=run.numbers[0])


def read_recipe_page(store: Store, card: RecipeCard, *, num_series: int = USUAL_SERIES) -> RecipePage | None:
    """Everything that the page of a recipe shows; None: it has no page.

    Of more than `num_series` series only the least accurate ones are read, and of all of them only the last periods and
    the scores of the newest runs.

    Args:
        store: to read.
        card: what the overview says of it.
        num_series: so many series at most.
    """
    recipe = stored_recipe(store, card.recipe)
    if recipe is None or not card.has_page:
        return None
    newest, previous, scored = _runs(store, recipe)
    length = _history_length(recipe)
    most = max(1, min(num_series, _MOST_NUMBERS // (length + _NUMBERS_PER_STEP * recipe.horizon)))
    first_origin = scored[-1]["origin"] if scored else np.datetime64("0001-01-01", "us")
    ids, series, total = _series(store, recipe, newest, first_origin, most=most)
    newest_run = _forecast_run(store, newest, ids) if newest else None
    previous_run = _forecast_run(store, previous, ids) if previous else None
    periods, history = _history(store, recipe, ids, length=length, run=newest_run)
    rejected = store.dashboard.rejections(recipe.name, most=_MOST_ROWS + 1)
    return RecipePage(
        card=card,
        labels=recipe.labels,
        unit=recipe.unit,
        periods_text=recipe.describe_periods(),
        series=series,
        num_series=total,
        periods=periods,
        history=history,
        newest=newest_run,
        previous=previous_run,
        scores=_scores(store, recipe, ids, first_origin, newest_run) if scored else None,
        overall=_overall(store, recipe, first_origin, newest_run) if scored else None,
        num_scored_runs=len(scored),
        scored_since=recipe.labels.text(first_origin) if scored else None,
        log=tuple(_log(store, recipe.name)),
        rejected=tuple(_rejected_row(row) for row in rejected[:_MOST_ROWS]),
        has_more_rejected=len(rejected) > _MOST_ROWS,
        models=tuple(_model_row(row, recipe) for row in store.dashboard.models(recipe.name, most=_MOST_ROWS)),
    )


def _history_length(recipe: Recipe) -> int:
    """The periods of history that are shown."""
    wanted = max(_SEASONS * recipe.season, _HORIZONS * recipe.horizon, _LEAST_PERIODS)
    return min(wanted, _MOST_PERIODS)


def _runs(store: Store, recipe: Recipe) -> tuple[Row | None, Row | None, list[Row]]:
    """The run that consumers see, the publication before it, and the newest runs whose scores count."""
    publications = store.dashboard.publications(recipe.name, most=_SCORED_RUNS + 1)
    if not publications:
        return None, None, []
    newest, *earlier = publications
    sizes = accumulate(row["num_rows"] for row in publications)
    scored = [
        row for n, (row, size) in enumerate(zip(publications, sizes, strict=True)) if n < 2 or size < _SCORED_ROWS
    ]
    return newest, (earlier[0] if earlier else None), scored


def _series(
    store: Store, recipe: Recipe, newest: Row | None, first_origin: np.datetime64, *, most: int
) -> tuple[tuple[int, ...], tuple[SeriesMethod, ...], int]:
    """Ids of the series that are shown, how they are forecast, and how many series there are."""
    if newest is None:
        rows = store.dashboard.names_of_series(recipe.name, most=most + 1)
        names = [SeriesMethod(name=row["series"]) for row in rows[:most]]
        return tuple(row["series_id"] for row in rows[:most]), tuple(names), len(rows)
    rows = store.dashboard.series_by_accuracy(recipe.name, newest["run_number"], first_origin=first_origin, most=most)
    series = tuple(
        SeriesMethod(
            name=row["series"],
            method=row["method"],
            reason=row["reason"],
            network_steps=row["network_steps"],
            num_scored=row["num_scored"] or 0,
            mase=row["mase"],
            skill=row["skill"],
        )
        for row in rows
    )
    return tuple(row["series_id"] for row in rows), series, newest["num_series"]


def _forecast_run(store: Store, run: Row, ids: Sequence[int]) -> ForecastRun:
    periods, columns = store.dashboard.forecasts(run["run_number"], ids)
    numbers = np.full((len(ids), len(periods), 5), np.nan)
    if columns:
        place = _Places(ids)
        series_ids, steps, *values = columns
        numbers[place.of(series_ids), np.array(steps) - 1] = np.array(values, np.float64).T
    return ForecastRun(
        run_id=run["run_id"],
        origin=run["origin"],
        published_at=run["published_at"],
        model_version=run["model_version"],
        periods=periods,
        numbers=numbers,
    )


class _Places:
    """Positions of series by their ids."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._order = np.argsort(ids)
        self._ids = np.array(ids, np.int64)[self._order]

    def of(self, ids: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The position of each id."""
        return self._order[np.searchsorted(self._ids, np.asarray(ids, np.int64))]


def _history(
    store: Store, recipe: Recipe, ids: Sequence[int], *, length: int, run: ForecastRun | None
) -> tuple[Periods, Array]:
    """The last periods of the recipe [P] and the values of some series in them [S, P]; NaN: a gap."""
    values = store.dashboard.history(recipe.name, ids, length=length)
    last = values.period.max() if len(values) else None
    if last is None:
        return np.empty(0, "datetime64[us]"), np.empty((len(ids), 0))
    newest = last if run is None else max(last, run.origin)
    grid = recipe.grid.between(values.period.min(), newest)[-length:]
    history = np.full((len(ids), len(grid)), np.nan)
    if len(grid) and len(values):
        column = np.minimum(np.searchsorted(grid, values.period), len(grid) - 1)
        on_grid = grid[column] == values.period
        history[_Places(ids).of(values.series[on_grid]), column[on_grid]] = values.value[on_grid]
    return grid, history


def _scores(
    store: Store, recipe: Recipe, ids: Sequence[int], first_origin: np.datetime64, run: ForecastRun | None
) -> StepScores | None:
    """Scores by series and step."""
    columns = store.dashboard.scores_of_series(recipe.name, ids, first_origin=first_origin)
    if run is None or not columns:
        return None
    series_ids, steps, *values = columns
    return _step_scores((len(ids), len(run.periods)), (_Places(ids).of(series_ids), np.array(steps) - 1), values)


def _overall(store: Store, recipe: Recipe, first_origin: np.datetime64, run: ForecastRun | None) -> StepScores | None:
    """Scores by step over all series."""
    rows = store.dashboard.scores_by_step(recipe.name, first_origin=first_origin)
    if run is None or not rows:
        return None
    values = [[row[key] for row in rows] for key in ("num_scored", "mase", "skill", "inside_80", "inside_95")]
    return _step_scores((len(run.periods),), (np.array([row["step"] for row in rows]) - 1,), values)


def _step_scores(
    shape: tuple[int, ...], places: tuple[npt.NDArray[np.int64], ...], values: Sequence[Sequence[Any]]
) -> StepScores:
    """Put scores into arrays; steps beyond the horizon, which an earlier recipe had, are left out."""
    is_shown = places[-1] < shape[-1]
    shown = tuple(place[is_shown] for place in places)
    arrays = []
    for column in values:
        array = np.full(shape, np.nan)
        array[shown] = np.array(column, np.float64)[is_shown]
        arrays.append(array)
    num_scored, mase, skill, inside_80, inside_95 = arrays
    return StepScores(
        num_scored=np.nan_to_num(num_scored).astype(np.int64),
        mase=mase,
        skill=skill,
        inside_80=inside_80,
        inside_95=inside_95,
    )


def _log(store: Store, recipe: str) -> list[LogEntry]:
    """Decisions about models and batches, the newest first."""
    entries = [
        *map(_model_decision, store.dashboard.decisions(recipe, most=_MOST_ROWS)),
        *map(_batch_decision, store.dashboard.decided_batches(recipe, most=_MOST_ROWS)),
    ]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)[:_MOST_ROWS]


def _model_decision(row: Row) -> LogEntry:
    version = "" if row["model_version"] is None else f" {row['model_version']}"
    kind = " (backfill)" if row["kind"] == "backfill" else ""
    if row["what"] == "training":
        title = _TRAININGS.get(row["outcome"], row["outcome"])
        return LogEntry(at=row["decided_at"], title=f"{title}{kind}", text=row["reason"])
    is_promoted = row["outcome"] == PROMOTED
    change = f"Model{version} {'is promoted' if is_promoted else 'is not promoted'} by the gate{kind}"
    return LogEntry(at=row["decided_at"], title=change, text=row["reason"], tone="good" if is_promoted else "bad")


def _batch_decision(row: Row) -> LogEntry:
    tone: Literal["good", "bad", "plain"] = "plain"
    batch = f"batch {row['batch_id']}"
    if row["source"] == "reset":
        title = "The history was started again"
    elif row["decision"] == "rejected":
        title, tone = f"A person rejected {batch}", "bad"
    elif row["decision"] == "withdrawn":
        title, tone = f"A person withdrew {batch}", "bad"
    elif row["releases"] is not None:
        title, tone = f"A person approved batch {row['releases']}", "good"
    elif row["status"] == "refused":
        title, tone = f"{batch.capitalize()} was refused", "bad"
    elif row["status"] == "held":
        title, tone = f"{batch.capitalize()} is on hold", "bad"
    else:
        title = f"{batch.capitalize()} was put on hold"
    changes = f"{counted(row['num_new'], 'new value')}, {row['num_revised']:,} revised"
    return LogEntry(at=row["recorded_at"], title=title, text=row["message"] or f"{row['source']}: {changes}", tone=tone)


def _rejected_row(row: Row) -> RejectedRow:
    return RejectedRow(**{("column" if key == "column_name" else key): value for key, value in row.items()})


def _model_row(row: Row, recipe: Recipe) -> ModelRow:
    return ModelRow(
        version=row["model_version"],
        is_champion=bool(row["is_champion"]),
        training=row["training"],
        reason=row["reason"],
        cutoff=recipe.labels.text(row["cutoff"]),
        trained_at=row["trained_at"],
        skill=row["skill"],
    )
