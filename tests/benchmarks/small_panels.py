"""Accuracy and seconds on single series and on panels of 10 and 100, beside other libraries: `python -m tests.benchmarks.small_panels`.

Scores are relative to the seasonal naive forecast's, series by series. Seconds are those of fit and forecast of a whole
panel: of nextperiod with the whole training process and its imports, of the others without imports. statsforecast and
neuralforecast run in an environment of their own (`tests/benchmarks/requirements.txt`). Results are written as soon as
they are there; a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused, TrainingFailed
from pipeline.forecasting.fallback import NoNetwork
from pipeline.forecasting.forecaster import hash_model, load_forecaster
from pipeline.jobs.inputs import ForecastInputs, produce_forecast
from pipeline.timeseries.forecast import NETWORK
from pipeline.timeseries.panel import Panel
from pipeline.timeseries.panel_file import write_panel
from pipeline.training.as_shipped import has_shipped_network, make_shipped_model
from pipeline.training.history import describe_shortage
from pipeline.training.process import run_training
from pipeline.training.process_files import JobFile, JobFolder, TrainedModel, TrainingJob
from tests.benchmarks.accuracy_plot import Point, plot_accuracy_against_time
from tests.benchmarks.contestants.panel_folder import quantiles_path
from tests.benchmarks.panel_draws import LOADERS, Collection, DrawnPanel, draw_panels, load_collections
from tests.benchmarks.panel_scores import RELATIVE, average, score_series, seasonal_naive_quantiles

Array = npt.NDArray[np.float64]

ROOT = Path(__file__).parents[2]
#: panels by number of series
DRAWS = {1: 12, 10: 3, 100: 1}
#: seconds that a contestant's process may take to import its libraries
IMPORT_SECONDS = 300
TOO_SLOW = "too slow"
#: kinds of periods that are summarized apart
RARE, FREQUENT = "months, quarters, years", "weeks, days, hours, M3 other"
RESULTS, PLOT = "small_panels.json", "accuracy_against_time.svg"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What contestants run with."""

    #: Python of the environment with the other libraries
    python: Path
    #: for one panel
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The forecast of one panel, or why there is none."""

    #: [S, H, Q]; None: there is none
    quantiles: Array | None = None
    seconds: float = 0.0
    #: series that a baseline forecast instead of the method
    num_stand_ins: int = 0
    problem: str = ""


#: forecasts panels of a recipe in turn, up to the first problem
Method = Callable[[Recipe, Sequence[DrawnPanel], Limits], Iterator[Outcome]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A method on all panels of one size of a collection."""

    collection: str
    size: int
    method: str
    num_panels: int
    is_frequent: bool
    #: why the method was not scored
    problem: str = ""
    #: of each panel
    seconds: list[float] = field(default_factory=list)
    num_stand_ins: int = 0
    #: of each series, by name of the score; None where it cannot be computed
    scores: dict[str, list[float | None]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int, str]:
        """What the result is of."""
        return self.collection, self.size, self.method

    @property
    def averages(self) -> dict[str, float]:
        """Each score over the series."""
        return average({name: np.array(values, float) for name, values in self.scores.items()})

    def row(self) -> str:
        """A row of the table."""
        start = f"| {self.collection} | {self.size} | {self.method} | {self.num_panels} |"
        if self.problem:
            return f"{start} {self.problem} |" + " |" * (len(COLUMNS) - 5)
        mean = self.averages
        cells = [f"{mean[name]:.3f}" for name in RELATIVE]
        cells += [f"{100 * mean['coverage_95']:.1f}", f"{100 * mean['coverage_80']:.1f}", f"{mean['msis_95']:.2f}"]
        return f"{start} {' | '.join(cells)} | {np.mean(self.seconds):.2f} | {self.num_stand_ins} |"


COLUMNS = (
    "collection",
    "series in a panel",
    "method",
    "panels",
    "MASE to seasonal naive's",
    "quantile loss to seasonal naive's",
    "inside 95 %",
    "inside 80 %",
    "MSIS",
    "seconds a panel",
    "series by a baseline",
)


def forecast_by_training(
    recipe: Recipe, drawn: Sequence[DrawnPanel], limits: Limits, *, pretrained: bool = True
) -> Iterator[Outcome]:
    """Forecast as a first cycle publishes it: trained in a process, with fallbacks and calibrated intervals."""
    model = recipe.model.model_copy(update={"pretrained": pretrained})
    training = recipe.training.model_copy(update={"time_limit_minutes": limits.seconds / 60})
    recipe = recipe.model_copy(update={"model": model, "training": training})
    for one in drawn:
        began = time.perf_counter()
        try:
            forecast = produce_forecast(_train(one.panel, recipe))
        except (ModelRefused, TrainingFailed) as error:
            is_late = time.perf_counter() - began >= limits.seconds
            yield Outcome(problem=TOO_SLOW if is_late else str(error))
            return
        seconds = time.perf_counter() - began
        num_stand_ins = sum(method != NETWORK for method in forecast.method)
        yield Outcome(quantiles=forecast.quantiles, seconds=seconds, num_stand_ins=num_stand_ins)


def _train(panel: Panel, recipe: Recipe) -> ForecastInputs:
    """Train a model, if the history is long enough for one, and return what its first forecast is made of."""
    shortage = describe_shortage(panel, recipe)
    if shortage is not None:
        return ForecastInputs(recipe=recipe, forecaster=NoNetwork(shortage), panel=panel, calibration=None)
    trained = run_training(TrainingJob(panel=panel, recipe=recipe, training="retrain", reason="benchmark"))
    return _first_inputs(panel, recipe, trained)


def _first_inputs(panel: Panel, recipe: Recipe, trained: TrainedModel) -> ForecastInputs:
    """What the first forecast of a model is made of."""
    forecaster = load_forecaster(trained.files, hash_model(trained.files))
    return ForecastInputs(
        recipe=recipe,
        forecaster=forecaster,
        panel=panel,
        calibration=forecaster.calibration,
        worse_than_baseline=trained.record.worse,
    )


def forecast_seasonal_naive(recipe: Recipe, drawn: Sequence[DrawnPanel], limits: Limits) -> Iterator[Outcome]:
    """Forecast by the baseline that scores are relative to."""
    del limits
    for one in drawn:
        began = time.perf_counter()
        quantiles = seasonal_naive_quantiles(one.panel, recipe.horizon, recipe.season)
        yield Outcome(quantiles=quantiles, seconds=time.perf_counter() - began)


def forecast_as_it_ships(recipe: Recipe, drawn: Sequence[DrawnPanel], limits: Limits) -> Iterator[Outcome]:
    """Forecast as `nextperiod run --keep` publishes it first: by the pretrained network without any fit."""
    del limits
    for one in drawn:
        began = time.perf_counter()
        if not has_shipped_network(one.panel, recipe):
            yield Outcome(problem="trains from scratch")
            return
        trained = make_shipped_model(one.panel, recipe, reason="benchmark")
        forecast = produce_forecast(_first_inputs(one.panel, recipe, trained))
        num_stand_ins = sum(method != NETWORK for method in forecast.method)
        seconds = time.perf_counter() - began
        yield Outcome(quantiles=forecast.quantiles, seconds=seconds, num_stand_ins=num_stand_ins)


def forecast_by_rival(recipe: Recipe, drawn: Sequence[DrawnPanel], limits: Limits, *, method: str) -> Iterator[Outcome]:
    """Forecast by another library, in its own environment."""
    script = Path(__file__).parent / "contestants/panel_rivals.py"
    with _panel_folder(recipe, drawn) as folder:
        command = [str(limits.python), "-W", "ignore", str(script), method, str(folder)]
        command += [str(recipe.season), str(recipe.horizon)]
        yield from _run_contestant(command, folder, recipe, drawn, limits)


@contextlib.contextmanager
def _panel_folder(recipe: Recipe, drawn: Sequence[DrawnPanel]) -> Iterator[Path]:
    """A temporary folder with a job and its panels, as a training process gets them."""
    with tempfile.TemporaryDirectory(prefix="nextperiod-panels-") as name:
        folder = JobFolder(Path(name))
        texts = tuple(write_panel(folder.panel(n), one.panel) for n, one in enumerate(drawn))
        folder.job.write_text(JobFile(kind="fits", recipe=recipe, panels=texts).model_dump_json(), "utf-8")
        yield folder.path


def _run_contestant(
    command: Sequence[str], folder: Path, recipe: Recipe, drawn: Sequence[DrawnPanel], limits: Limits
) -> Iterator[Outcome]:
    """Run a contestant on a folder of panels, and read its forecasts; it is stopped when a panel takes too long."""
    lines = _read_lines(command, limits.seconds)
    for number, one in enumerate(drawn):
        line = next(lines)
        if "problem" in line:
            yield Outcome(problem=line["problem"])
            return
        quantiles = np.load(quantiles_path(folder, number), allow_pickle=False)
        is_missing = ~np.isfinite(quantiles).all(axis=(1, 2))
        naive = seasonal_naive_quantiles(one.panel, recipe.horizon, recipe.season)
        yield Outcome(
            quantiles=np.where(is_missing[:, None, None], naive, quantiles),
            seconds=line["seconds"],
            num_stand_ins=line["stand_ins"] + int(is_missing.sum()),
        )


def _read_lines(command: Sequence[str], limit_seconds: float) -> Iterator[dict[str, Any]]:
    """Yield what a contestant prints for each panel; a problem where it ends early or is stopped."""
    with tempfile.TemporaryFile() as errors, _start(command, errors) as child:
        assert child.stdout is not None
        is_stopped = threading.Event()
        timer = _start_timer(child, is_stopped, IMPORT_SECONDS)
        try:
            for text in child.stdout:
                line = _parse(text)
                if line is None:
                    continue
                timer.cancel()
                timer = _start_timer(child, is_stopped, limit_seconds)
                if "ready" not in line:
                    yield line
            child.wait()
            yield {"problem": TOO_SLOW if is_stopped.is_set() else _last_line(errors)}
        finally:
            timer.cancel()
            _kill(child)


def _start(command: Sequence[str], errors: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True, cwd=ROOT)


def _start_timer(child: subprocess.Popen[str], is_stopped: threading.Event, seconds: float) -> threading.Timer:
    def stop() -> None:
        is_stopped.set()
        _kill(child)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    return timer


def _kill(child: subprocess.Popen[str]) -> None:
    """End a contestant with its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _parse(text: str) -> dict[str, Any] | None:
    """A line of JSON; None for whatever else a library prints."""
    with contextlib.suppress(json.JSONDecodeError):
        line = json.loads(text)
        return line if isinstance(line, dict) else None
    return None


def _last_line(errors: Any) -> str:
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "ended without a message"


#: by the name in the table, in its order
METHODS: dict[str, Method] = {
    "seasonal naive": forecast_seasonal_naive,
    "nextperiod": forecast_by_training,
    "nextperiod, as it ships": forecast_as_it_ships,
    "nextperiod, from scratch": partial(forecast_by_training, pretrained=False),
    "AutoETS": partial(forecast_by_rival, method="AutoETS"),
    "DynamicOptimizedTheta": partial(forecast_by_rival, method="DynamicOptimizedTheta"),
    "AutoARIMA": partial(forecast_by_rival, method="AutoARIMA"),
    "neuralforecast LSTM": partial(forecast_by_rival, method="LSTM"),
    "neuralforecast NHITS": partial(forecast_by_rival, method="NHITS"),
}
#: what needs no other library
OWN_METHODS = tuple(name for name in METHODS if name.startswith(("seasonal naive", "nextperiod")))


def measure(collection: Collection, drawn: Sequence[DrawnPanel], name: str, limits: Limits) -> Result:
    """Forecast panels of one size by a method, and score them; a method with a problem in one of them has no score."""
    recipe = collection.recipe
    result = partial(
        Result,
        collection=collection.name,
        size=len(drawn[0].panel.series),
        method=name,
        num_panels=len(drawn),
        is_frequent=collection.is_frequent,
    )
    outcomes, scores = [], []
    for one, outcome in zip(drawn, METHODS[name](recipe, drawn, limits), strict=False):
        if outcome.quantiles is None:
            return result(problem=" ".join(outcome.problem.replace("|", "/").split()))
        outcomes.append(outcome)
        scores.append(score_series(outcome.quantiles, one, recipe.season))
    return result(
        seconds=[round(outcome.seconds, 4) for outcome in outcomes],
        num_stand_ins=sum(outcome.num_stand_ins for outcome in outcomes),
        scores={key: _as_list(np.concatenate([by_name[key] for by_name in scores])) for key in scores[0]},
    )


def _as_list(values: Array) -> list[float | None]:
    return [round(value, 5) if np.isfinite(value) else None for value in values.tolist()]


class ResultFile:
    """Results in a JSON file, which is rewritten after each result."""

    def __init__(self, path: Path) -> None:
        self.path = path
        stored = json.loads(path.read_text("utf-8")) if path.exists() else []
        self.results = {result.key: result for result in (Result(**fields) for fields in stored)}

    def add(self, result: Result) -> None:
        """Add a result, or replace that of an earlier run."""
        self.results[result.key] = result
        text = json.dumps([_fields(one) for one in self.results.values()], indent=0)
        unfinished = self.path.with_suffix(".part")
        unfinished.write_text(text, "utf-8")
        unfinished.replace(self.path)


def _fields(result: Result) -> dict[str, Any]:
    return {name: getattr(result, name) for name in Result.__slots__}


def measure_all(asked: argparse.Namespace, file: ResultFile) -> Iterator[Result]:
    """Yield a result for each collection, size and method that was asked for; those in the file are not measured again.

    A method that was too slow for a panel is not tried on a larger one of the same collection.
    """
    limits = Limits(python=asked.python, seconds=asked.limit)
    for collection in load_collections(asked.collection or ()):
        slow: set[str] = set()
        for size in sorted(asked.size):
            drawn = draw_panels(collection, size, asked.draws or DRAWS.get(size, 1))
            for name in asked.method or METHODS if drawn else ():
                key = (collection.name, size, name)
                stored = None if asked.fresh else file.results.get(key)
                if stored is None or stored.num_panels != len(drawn):
                    result = (
                        _skip(collection, drawn, name) if name in slow else measure(collection, drawn, name, limits)
                    )
                    file.add(result)
                if file.results[key].problem.startswith(TOO_SLOW):
                    slow.add(name)
                yield file.results[key]


def _skip(collection: Collection, drawn: Sequence[DrawnPanel], name: str) -> Result:
    return Result(
        collection=collection.name,
        size=len(drawn[0].panel.series),
        method=name,
        num_panels=len(drawn),
        is_frequent=collection.is_frequent,
        problem=f"{TOO_SLOW} with fewer series",
    )


def summarize(results: Sequence[Result]) -> list[Point]:
    """Return one point for each kind of period, size and method, over the collections that all its methods forecast.

    A method that did not forecast half of the collections is left out. Each collection counts the same, by geometric
    means.
    """
    points = []
    for is_frequent in (False, True):
        for size in sorted({result.size for result in results}):
            alike = [result for result in results if result.is_frequent == is_frequent and result.size == size]
            points += _summarize_alike(alike, FREQUENT if is_frequent else RARE)
    return points


def _summarize_alike(results: Sequence[Result], kind: str) -> list[Point]:
    by_method: dict[str, dict[str, Result]] = {}
    for result in results:
        done = by_method.setdefault(result.method, {})
        if not result.problem:
            done[result.collection] = result
    num_collections = len({result.collection for result in results})
    by_method = {name: done for name, done in by_method.items() if 2 * len(done) >= max(num_collections, 1)}
    common = sorted(set.intersection(*(set(done) for done in by_method.values()))) if by_method else []
    if not common:
        return []
    return [
        Point(
            kind=kind,
            method=name,
            size=next(iter(done.values())).size,
            num_collections=len(common),
            seconds=_geometric_mean([float(np.mean(done[collection].seconds)) for collection in common]),
            **{
                score: _geometric_mean([done[collection].averages[score] for collection in common])
                for score in RELATIVE
            },
        )
        for name, done in by_method.items()
    ]


def _geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(np.maximum(values, 1e-4)))))


def print_summary(points: Sequence[Point]) -> None:
    """Print the table of what the plot shows."""
    print("\n| periods | series in a panel | collections | method | MASE | quantile loss | seconds a panel |")
    print("|" + "---|" * 7)
    for point in points:
        print(
            f"| {point.kind} | {point.size} | {point.num_collections} | {point.method} "
            f"| {point.mase:.3f} | {point.sql:.3f} | {point.seconds:.2f} |"
        )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collection", choices=list(LOADERS), action="append")
    parser.add_argument("--method", choices=list(METHODS), action="append")
    parser.add_argument("--size", type=int, nargs="+", default=list(DRAWS), help="series in a panel")
    parser.add_argument("--draws", type=int, help=f"panels of each size, instead of {DRAWS}")
    parser.add_argument("--limit", type=float, default=600, help="seconds for a panel; a slower method has no result")
    parser.add_argument("--fresh", action="store_true", help="measure again what the file of results has")
    parser.add_argument("--report", action="store_true", help="measure nothing: show what the file of results has")
    parser.add_argument("--out", type=Path, default=ROOT / "build/accuracy", help="folder of results and plot")
    parser.add_argument("--python", type=Path, default=ROOT / ".venv-bench/bin/python", help="of the other libraries")
    asked = parser.parse_args()
    if (
        not asked.report
        and not asked.python.exists()
        and any(name not in OWN_METHODS for name in asked.method or METHODS)
    ):
        parser.error(f"{asked.python} does not exist: run `make .venv-bench/.done`, or choose from {OWN_METHODS}")
    return asked


def main() -> None:
    """Print the tables, and draw the plot."""
    asked = parse_arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    file = ResultFile(asked.out / RESULTS)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    results = []
    for result in list(file.results.values()) if asked.report else measure_all(asked, file):
        results.append(result)
        print(result.row(), flush=True)
    points = summarize(results)
    print_summary(points)
    plot_accuracy_against_time(points, asked.out / PLOT)


if __name__ == "__main__":
    main()
