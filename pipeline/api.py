"""Forecast a pandas frame without recipe files and without a database, with the code and the numbers of the pipeline.

from pipeline.api import backtest, fit, load

model = fit(frame, frequency="MS", horizon=12)      # columns series, period, value
forecasts = model.predict(frame)
model.save("milk-model")
same = load("milk-model").predict(frame)
backtest(frame, frequency="MS", horizon=12, origins=5).scores()
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.config.loader import validate_recipe
from pipeline.config.recipe import Recipe, recipe_from_definition
from pipeline.config.settings import read_settings
from pipeline.config.sources import FrameSource
from pipeline.errors import InvalidArgument, ModelRefused, NextperiodError, SchemaOutOfDate
from pipeline.evaluation.rolling_origin import BacktestPlan, RollingBacktest
from pipeline.forecasting.forecaster import Forecaster, hash_model, load_forecaster, read_model_files, save_model_files
from pipeline.jobs.backtest import prepare_backtest, produce_backtest
from pipeline.jobs.inputs import ForecastInputs, check_covariates, prepare_panel, produce_forecast
from pipeline.records.training import TrainingRecord
from pipeline.storage.engine import open_database
from pipeline.storage.schema import revision_of
from pipeline.storage.store import Store
from pipeline.timeseries.frames import observations_from_frame
from pipeline.timeseries.panel import Panel, add_covariate
from pipeline.training.history import require_trainable
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainingJob

if TYPE_CHECKING:
    import pandas as pd

#: the record of the training, beside the model directory's own files
_RECORD_FILE = "training.json"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Model:
    """A trained model that forecasts frames with the columns it was trained on."""

    recipe: Recipe
    forecaster: Forecaster
    record: TrainingRecord
    #: the model directory's files by name
    files: Mapping[str, bytes]

    def __repr__(self) -> str:
        return (
            f"Model({self.recipe.model.architecture}, frequency={self.recipe.frequency!r}, "
            f"horizon={self.recipe.horizon}, cutoff={str(self.forecaster.cutoff)[:10]}, hash={self.forecaster.model_hash[:12]})"
        )

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Forecast the periods after the newest one in a frame.

        The network forecasts every series that has the history it needs, also series that it was not trained on. Any
        other series gets a labelled baseline.

        Args:
            frame: long, with the columns that the model was trained on; rows in any order.

        Returns:
            One row a series and step: `series, period, step, mean, lower_95, lower_80, median, upper_80, upper_95,
            method, reason`. The first two are named like the frame's own columns.

        Raises:
            InvalidArgument: a column is missing, or its periods or values cannot be used.
            CovariateMissing: a covariate is not known ahead, and the recipe wants no forecast then.
        """
        panel = prepare_panel(_panel(frame, self.recipe), self.recipe)
        check_covariates(panel, self.recipe)
        inputs = ForecastInputs(
            recipe=self.recipe,
            forecaster=self.forecaster,
            panel=panel,
            calibration=self.forecaster.calibration,
            worse_than_baseline=self.record.worse,
        )
        forecast = produce_forecast(inputs)
        source = self.recipe.source
        return forecast.to_frame().rename(columns={"series": source.series or "series", "period": source.period})

    def backtest_scores(self) -> pd.DataFrame:
        """The errors over the test part that the training held out: one row a method, one column a metric.

        Empty where the history was too short to hold one out.
        """
        import pandas as pd

        scores = self.record.backtest.scores if self.record.backtest else {}
        return pd.DataFrame.from_dict(scores, orient="index").rename_axis("method")

    def save(self, folder: str | Path) -> Path:
        """Write the model directory, and the record of the training beside it; a model that is there is replaced.

        Raises:
            InvalidArgument: the folder cannot be written.
        """
        path = Path(folder)
        try:
            save_model_files(self.files, path)
            (path / _RECORD_FILE).write_text(self.record.model_dump_json(), "utf-8")
        except OSError as error:
            raise InvalidArgument(f"the model cannot be written to {path}: {error.strerror}") from None
        return path


@dataclass(frozen=True, kw_only=True, slots=True)
class Backtest:
    """Forecasts from past origins beside the values observed since."""

    result: RollingBacktest

    def scores(self) -> pd.DataFrame:
        """Errors over all origins, series and steps: one row a method, one column a metric."""
        import pandas as pd

        return pd.DataFrame.from_dict(self.result.scores(), orient="index").rename_axis("method")

    def by_step(self) -> pd.DataFrame:
        """Errors by method and step: one row each, one column a metric."""
        return _long(self.result.by_step(), "step", range(1, len(self.result.observed[0, 0]) + 1))

    def by_series(self) -> pd.DataFrame:
        """Errors by method and series: one row each, one column a metric."""
        return _long(self.result.by_series(), "series", self.result.series)

    def by_origin(self) -> pd.DataFrame:
        """Errors by method and origin: one row each, one column a metric."""
        return _long(self.result.by_origin(), "origin", [origin.origin for origin in self.result.origins])


def fit(
    frame: pd.DataFrame,
    *,
    frequency: str,
    horizon: int,
    series: str | None = "series",
    period: str = "period",
    value: str = "value",
    **recipe: Any,
) -> Model:
    """Train a network on all series of a long frame, as `nextperiod train` does.

    Training runs in a process of its own, which alone imports TensorFlow.

    Args:
        frame: one row a series and period, in any order; NaN is a gap.
        frequency: pandas offset alias of the periods, such as MS, D, B or h.
        horizon: periods to forecast (H).
        series: column of the series' names; None: the frame holds one series.
        period: column of the periods: timestamps, dates, or text in ISO 8601.
        value: column of the values.
        recipe: any other key or table of a recipe, such as `season_length=12`, `calendar="XNYS"`, `max_gap=2`,
            `model={"architecture": "stacked"}`, `training={"seed": 1}`, `covariates={"future": ["holiday"]}`.

    Raises:
        InvalidRecipe: a key is not known, or its value cannot be used.
        InvalidArgument: a column is missing, or its periods or values cannot be used.
        NotEnoughHistory: no network can be fitted on so short a history.
        ModelRefused: the training did not stay finite.
        TrainingFailed: the training process crashed, was killed, or ran past its limits.
    """
    parsed = _recipe(frequency, horizon, (series, period, value), recipe)
    panel = prepare_panel(_panel(frame, parsed), parsed)
    require_trainable(panel, parsed)
    trained = run_training(TrainingJob(panel=panel, recipe=parsed, training="retrain", reason="asked for"))
    return _model(trained.files, trained.record)


def load(folder: str | Path) -> Model:
    """Read a model that `Model.save` wrote; its files are checked before they are used.

    Raises:
        ModelRefused: the folder does not exist or holds no model, a file is missing or was changed, or the network
            gives other numbers here.
    """
    path = Path(folder)
    files = read_model_files(path)
    try:
        record = TrainingRecord.model_validate_json((path / _RECORD_FILE).read_bytes())
    except (OSError, ValueError):
        raise ModelRefused(f"{path / _RECORD_FILE} is missing or was changed: save the model again") from None
    return _model(files, record)


def backtest(
    frame: pd.DataFrame,
    *,
    frequency: str,
    horizon: int,
    origins: int | None = None,
    every: int | None = None,
    refit: Literal["always", "once"] = "always",
    series: str | None = "series",
    period: str = "period",
    value: str = "value",
    **recipe: Any,
) -> Backtest:
    """Forecast a frame from past origins, beside the baselines, as `nextperiod backtest --as-of-now` does.

    Args:
        frame: one row a series and period, in any order; NaN is a gap.
        frequency: pandas offset alias of the periods.
        horizon: periods to forecast (H).
        origins: how many; None: 3, or as many as the history has room for.
        every: periods from one origin to the next; None: the horizon.
        refit: train at each origin, or once at the first.
        series: column of the series' names; None: the frame holds one series.
        period: column of the periods.
        value: column of the values.
        recipe: any other key or table of a recipe, as for `fit`.

    Raises:
        InvalidRecipe: a key is not known, or its value cannot be used.
        InvalidArgument: a column is missing, or its periods or values cannot be used.
        NotEnoughHistory: the history is too short for so many origins.
        ModelRefused: a fit did not stay finite.
    """
    parsed = _recipe(frequency, horizon, (series, period, value), recipe)
    plan = BacktestPlan(num_origins=origins, every=every, refit=refit, as_of_now=True)
    inputs = prepare_backtest(_panel(frame, parsed), parsed, plan)
    return Backtest(result=produce_backtest(inputs, parsed, plan))


def latest_forecasts(recipe: str, *, series: str | None = None) -> pd.DataFrame:
    """Read the newest published forecasts of a recipe from the database that the environment names.

    Args:
        recipe: its name.
        series: only this series; None: all.

    Returns:
        The rows and columns of the view `latest_forecasts`.

    Raises:
        NextperiodError: nothing is published for it.
        SchemaOutOfDate: the database has no schema, or an older one.
        DatabaseUnavailable: the database cannot be reached.
    """
    import pandas as pd

    database = open_database(read_settings().database_url)
    try:
        if revision_of(database) is None:
            raise SchemaOutOfDate(f"{database.shown} has no schema: run `nextperiod run {recipe}` first")
        rows = Store(database).runs.latest_forecasts(recipe, series)
    finally:
        database.close()
    if not rows:
        raise NextperiodError(f"no forecast is published for {recipe}: run `nextperiod run {recipe}`")
    return pd.DataFrame([dict(row) for row in rows])


def _recipe(frequency: str, horizon: int, columns: tuple[str | None, str, str], keys: Mapping[str, Any]) -> Recipe:
    series, period, value = columns
    source = FrameSource(kind="frame", series=series, period=period, value=value)
    fields = {"name": "frame", "frequency": frequency, "horizon": horizon, **keys, "source": source}
    return validate_recipe(fields, where="the arguments")


def _panel(frame: pd.DataFrame, recipe: Recipe) -> Panel:
    """The values and the covariates of a frame.

    Raises:
        InvalidArgument: a column is missing, or its periods or values cannot be used.
    """
    columns: Any = {"series": recipe.source.series, "period": recipe.source.period}
    covariates = recipe.covariates
    try:
        panel = Panel.from_frame(frame, recipe.grid, **columns, value=str(recipe.source.value), as_of=datetime.now(UTC))
        panel = replace(panel, ahead=recipe.horizon if covariates.future else 0)
        for name in (*covariates.past, *covariates.future):
            values = observations_from_frame(frame, recipe.grid, **columns, value=name)
            if recipe.source.series is None:
                values = replace(values, names=panel.series)
            is_known_ahead = name in covariates.future
            panel = add_covariate(panel, name, values, frequency=recipe.grid, known_ahead=is_known_ahead)
        static = {name: _attribute(frame, recipe, panel, name) for name in covariates.static}
    except ValueError as error:
        raise InvalidArgument(f"the frame cannot be used: {error}") from None
    return replace(panel, static=static)


def _attribute(frame: pd.DataFrame, recipe: Recipe, panel: Panel, name: str) -> tuple[str, ...]:
    """The text of a column for each series; a series has the same in all its rows."""
    if name not in frame.columns:
        raise ValueError(f'there is no column "{name}": expected one text for each series')
    texts = frame[name].fillna("").astype(str)
    if recipe.source.series is None:
        by_series = {panel.series[0]: sorted(set(texts))}
    else:
        by_series = {str(key): sorted(set(group)) for key, group in texts.groupby(frame[recipe.source.series])}
    several = next((key for key, found in by_series.items() if len(found) > 1), None)
    if several is not None:
        raise ValueError(f'series "{several}" has several texts in column "{name}": expected one')
    return tuple(by_series[key][0] for key in panel.series)


def _model(files: Mapping[str, bytes], record: TrainingRecord) -> Model:
    forecaster = load_forecaster(files, hash_model(files))
    recipe = recipe_from_definition(json.loads(files["forecaster.json"])["recipe"])
    return Model(recipe=recipe, forecaster=forecaster, record=record, files=files)


def _long(scores: Mapping[str, Mapping[str, list[float | None]]], name: str, keys: Any) -> pd.DataFrame:
    """Scores by method and metric over keys, as one row a method and key."""
    import pandas as pd

    frames = [pd.DataFrame({"method": method, name: list(keys), **by_metric}) for method, by_metric in scores.items()]
    return pd.concat(frames, ignore_index=True)
