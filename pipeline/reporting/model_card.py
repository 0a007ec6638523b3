"""Write the card of a model, in Markdown: what it is, its data, accuracy, limits, and how to use it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.config.recipe import Recipe
from pipeline.records.lineage import ModelVersion
from pipeline.records.training import BacktestRecord, TrainingRecord
from pipeline.reporting.assessment import assess_model
from pipeline.text import counted, format_numbers
from pipeline.timeseries.forecast import NETWORK

_METRICS = {"rmse": "RMSE", "mae": "MAE", "mase": "MASE", "smape": "sMAPE"}
_USAGE = """The forecasts are in the database:

```sql
select period, mean, lower_80, upper_80 from latest_forecasts where recipe = '{quoted_recipe}';
```

The network alone gives scaled numbers. The files in `forecaster/` turn them into quantiles of the series. `panel` is the
history to forecast from, here all that is known. `NEXTPERIOD_DATABASE_URL` and `MLFLOW_TRACKING_URI` say where both are:

```python
from pathlib import Path

import mlflow

from flows.context import open_context
from pipeline.forecasting.baselines import forecast_naive
from pipeline.forecasting.forecaster import load_forecaster, read_model_files
from pipeline.forecasting.series_scale import volatility_groups
from pipeline.jobs.inputs import load_panel

with open_context({recipe!r}, as_it_ran=True) as context:
    panel = load_panel(context.recipe, context.store, as_of=None)
model = mlflow.MlflowClient().search_model_versions("tags.`nextperiod.model_hash` = '{model_hash}'")[0]
folder = Path(mlflow.artifacts.download_artifacts(f"models:/{{model.name}}/{{model.version}}"))
network = mlflow.pyfunc.load_model(str(folder))
forecaster = load_forecaster(read_model_files(folder / "forecaster"), "{model_hash}")
windows = forecaster.inputs_at_origin(panel)
inputs = {{name: values.astype("float32") for name, values in windows.inputs.items()}}
outputs = network.predict(inputs)
if isinstance(outputs, dict):  # of a network that ships with the package, which MLflow has in the ONNX flavor
    (outputs,) = outputs.values()
quantiles = forecaster.to_quantiles(outputs, windows)  # [series, step, level]
if forecaster.calibration:  # what is published is calibrated by series, too
    naive = forecast_naive(panel, forecaster.horizon, {season})
    groups = volatility_groups(panel, naive.scale, {season})
    series, _, _ = forecaster.predict(panel)  # positions of the series that the network can forecast
    names = [panel.series[s] for s in series]
    quantiles = forecaster.calibration.apply(quantiles, names, groups[series], naive.quantiles[series])
```"""


def render_model_card(recipe: Recipe, model: ModelVersion, verdict: str | None = None) -> str:
    """Return the card of one model version; `verdict` is the gate's decision, in a sentence."""
    record = model.record
    title = ": ".join(filter(None, (recipe.name, recipe.description)))
    parts = [
        f"# {_escape(title)}",
        f"**Can I trust it?** {assess_model(recipe, record).text}",
        "## What it is\n" + _bullets(_facts(recipe, model, verdict)),
        "## Backtest\n" + _backtest(record.backtest, record.resolve_baseline(recipe.gate.baseline)),
        "## Limits\n" + _bullets(_limits(recipe, record)),
        "## How to use it\n" + _usage(recipe, model),
        "## Where it comes from\n" + _bullets(_lineage(model)),
    ]
    return "\n\n".join(parts)


def _facts(recipe: Recipe, model: ModelVersion, verdict: str | None) -> Iterator[str]:
    record = model.record
    unit = f" in {_escape(recipe.unit)}" if recipe.unit else ""
    intervals = "quantiles from the network" if recipe.loss == "pinball" else "intervals from its past errors"
    yield f"forecasts the next {counted(recipe.horizon, 'period')} ({recipe.describe_periods()}){unit}, with {intervals}"
    members = counted(len(record.designs) or recipe.num_members, "member")
    yield f"network: {recipe.model.architecture}, {members}, loss {recipe.loss}"
    yield from (f"member {n}: {_escape(design)}" for n, design in enumerate(record.designs, start=1))
    start = f"{record.began[:10]} to " if record.began else "up to "
    size = f", {counted(record.num_observations, 'observation')}" if record.num_observations else ""
    yield f"data: {record.num_series} series, {start}{record.cutoff[:10]}{size}"
    yield f"training: {model.training}; reason: {_escape(model.reason)}"
    if verdict:
        yield f"gate: {_escape(verdict)}"


def _backtest(backtest: BacktestRecord | None, baseline: str) -> str:
    if backtest is None:
        return "None: the history is too short for one."
    names = {NETWORK: "this model", baseline: f"{baseline} (the baseline)"}
    table = [_row("", _METRICS.values()), "|---|---:|---:|---:|---:|"]
    columns = [format_numbers(scores.get(metric) for scores in backtest.scores.values()) for metric in _METRICS]
    for method, *cells in zip(backtest.scores, *columns, strict=True):
        table.append(_row(names.get(method, method), cells))
    return "\n".join([*table, "", _coverage(backtest), "", _test_part(backtest)])


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _coverage(backtest: BacktestRecord) -> str:
    shares = [
        f"{share:.0%} in the {percent} % interval" for percent, share in backtest.coverage.items() if share is not None
    ]
    if not shares:
        return "The coverage of the intervals was not measured: their width is computed from these same errors."
    num = counted(backtest.hits[0].num, "observation")
    return f"Coverage before the intervals are calibrated: {', '.join(shares)}, of {num}."


def _test_part(backtest: BacktestRecord) -> str:
    apart = f", {backtest.num_apart} of them without a period in common" if backtest.num_apart else ""
    return f"Test part: after {backtest.cutoff[:10]}, {counted(backtest.num_origins, 'origin')}{apart}."


def _limits(recipe: Recipe, record: TrainingRecord) -> Iterator[str]:
    yield f"was trained on the history up to {record.cutoff[:10]} and has seen nothing else"
    yield "a series that lacks data that the network needs is forecast by a baseline; its rows give the reason"
    bounds = {"at least": recipe.publish.minimum, "at most": recipe.publish.maximum}
    limits = [f"{word} {bound:.15g}" for word, bound in bounds.items() if bound is not None]
    if limits:
        yield f"published values are clipped to be {' and '.join(limits)}; the model's own outputs are not"


def _usage(recipe: Recipe, model: ModelVersion) -> str:
    return _USAGE.format(
        recipe=recipe.name,
        quoted_recipe=recipe.name.replace("'", "''"),
        model_hash=model.model_hash,
        season=recipe.season,
    )


def _lineage(model: ModelVersion) -> Iterator[str]:
    yield f"model version {model.model_version}, hash `{model.model_hash}`"
    yield f"code `{model.lineage.code_version}`, recipe `{model.lineage.recipe_fingerprint}`"
    yield f"data `{model.lineage.data_hash}`, as of {model.lineage.as_of.isoformat()}"


def _bullets(lines: Iterator[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _escape(text: str) -> str:
    """Text from outside on one line, with Markdown's special characters escaped."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in " ".join(text.split()))
