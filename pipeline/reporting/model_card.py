"""The card of a model, in Markdown: what it is, from which data, how good, how far to trust it, and how to use it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipeline.config.recipe import Recipe
from pipeline.records.lineage import ModelVersion
from pipeline.records.training import BacktestRecord, TrainingRecord
from pipeline.reporting.assessment import trust_of
from pipeline.text import counted

_METRICS = ("rmse", "mae", "mase", "smape")
_DASH = "\N{EN DASH}"


def render_model_card(recipe: Recipe, model: ModelVersion, verdict: str | None = None) -> str:
    """Of one version of a recipe's model; the verdict is the gate's, in a sentence."""
    record, trust = model.record, trust_of(recipe, model.record)
    about = ": ".join(filter(None, (recipe.name, recipe.description)))
    parts = [
        f"# {_plain(about)}",
        f"**Can I trust it?** {trust.text}",
        "## What it is\n" + _listed(_facts(recipe, model, verdict)),
        "## Backtest\n" + _backtest(record, recipe.gate.baseline),
        "## Limits\n" + _listed(_limits(recipe, record)),
        "## How to use it\n" + _usage(recipe, model),
        "## Where it comes from\n" + _listed(_lineage(model)),
    ]
    return "\n\n".join(parts)


def _facts(recipe: Recipe, model: ModelVersion, verdict: str | None) -> Iterator[str]:
    record = model.record
    levels = "quantiles from the network" if recipe.loss == "pinball" else "intervals from its past errors"
    yield (
        f"forecasts the next {counted(recipe.horizon, 'period')} (frequency {recipe.frequency})"
        + (f" in {_plain(recipe.unit)}" if recipe.unit else "")
        + f", with {levels}"
    )
    yield f"network: {recipe.model.architecture}, {counted(recipe.num_members, 'member')}, loss {recipe.loss}"
    began = f"{record.began[:10]} to " if record.began else "up to "
    known = f", {counted(record.num_observations, 'observation')}" if record.num_observations else ""
    yield f"data: {record.num_series} series, {began}{record.cutoff[:10]}{known}"
    yield f"training: {model.training}, because: {_plain(model.reason)}"
    if verdict:
        yield f"gate: {_plain(verdict)}"


def _backtest(record: TrainingRecord, baseline: str) -> str:
    backtest = record.backtest
    if backtest is None:
        return "None: the history is too short for one."
    head = (
        "| | "
        + " | ".join(metric.upper().replace("SMAPE", "sMAPE") for metric in _METRICS)
        + " |\n|---|---:|---:|---:|---:|"
    )
    names = {"lstm": "this model", baseline: f"{baseline} (the baseline)"}
    rows = [
        f"| {names.get(method, method)} | " + " | ".join(_number(scores.get(metric)) for metric in _METRICS) + " |"
        for method, scores in backtest.scores.items()
    ]
    return "\n".join([head, *rows, "", _coverage(backtest), "", _test_part(backtest)])


def _coverage(backtest: BacktestRecord) -> str:
    held = [
        f"{share:.0%} in the {percent} % interval" for percent, share in backtest.coverage.items() if share is not None
    ]
    if not held:
        return "How often the intervals hold was not measured here: their width comes from these errors."
    return f"Coverage before the intervals are calibrated: {', '.join(held)}, of {counted(backtest.hits[0].num, 'observation')}."


def _test_part(backtest: BacktestRecord) -> str:
    apart = f", {backtest.num_apart} of them without a period in common" if backtest.num_apart else ""
    return f"Test part: after {backtest.cutoff[:10]}, {counted(backtest.num_origins, 'origin')}{apart}."


def _limits(recipe: Recipe, record: TrainingRecord) -> Iterator[str]:
    yield f"knows nothing after {record.cutoff[:10]}, and nothing that was not in the history up to then"
    yield "a series that lacks what the network needs is forecast by a baseline, with the reason in its row"
    bounds = {"at least": recipe.publish.minimum, "at most": recipe.publish.maximum}
    told = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
    if told:
        yield f"what is published is clipped to be {' and '.join(told)}; the model itself is not"


def _usage(recipe: Recipe, model: ModelVersion) -> str:
    name = recipe.name.replace("'", "''")
    return f"""The forecasts are in the database:

```sql
select period, mean, lower_80, upper_80 from latest_forecasts where recipe = '{name}';
```

The network alone gives numbers in its own scale; `forecaster/` beside it holds scaling and spread:

```python
network = mlflow.pyfunc.load_model("models:/{recipe.name}/<version>")  # or mlflow.keras.load_model
forecaster = load_forecaster(files, "{model.model_hash}")  # pipeline.forecasting.forecaster, of the files in forecaster/
read = forecaster.read(panel)
inputs = {{name: told.astype("float32") for name, told in read.inputs.items()}}
quantiles = forecaster.quantiles(network.predict(inputs), read)  # [series, step, level]
if forecaster.calibration:
    quantiles = forecaster.calibration.apply(quantiles)
```"""


def _lineage(model: ModelVersion) -> Iterator[str]:
    yield f"model version {model.model_version}, hash `{model.model_hash}`"
    yield f"code `{model.lineage.code_version}`, recipe `{model.lineage.recipe_fingerprint}`"
    yield f"data `{model.lineage.data_hash}`, as known at {model.lineage.as_of.isoformat()}"


def _listed(lines: Iterator[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _number(value: float | None) -> str:
    return f"{value:.4g}" if value is not None and math.isfinite(value) else _DASH


def _plain(text: str) -> str:
    """Text from outside as Markdown's plain text: on one line, without its signs."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in " ".join(text.split()))
