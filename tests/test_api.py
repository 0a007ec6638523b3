"""The notebook API: frames in and out, the numbers of the pipeline, and clear refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import api
from pipeline.config.loader import parse_recipe
from pipeline.errors import (
    InvalidArgument,
    InvalidRecipe,
    ModelRefused,
    NextperiodError,
    NotEnoughHistory,
    SchemaOutOfDate,
)
from pipeline.evaluation.rolling_origin import BacktestPlan
from pipeline.jobs.backtest import backtest
from pipeline.jobs.forecast import publish_forecast
from pipeline.jobs.ingest import ingest_source
from pipeline.jobs.train import train_model
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from tests.support.examples import NOW, months, small_values

EXAMPLE = Path(__file__).parents[1] / "deployments" / "notebook.py"
#: a small network and few epochs: what is trained matters here, not how well
SMALL: dict[str, Any] = {
    "season_length": 4,
    "model": {"architecture": "vanilla", "units": 4, "context": 8},
    "training": {"epochs": 2, "batch_size": 8},
}
COLUMNS = [
    *("series", "period", "step", "mean", "lower_95", "lower_80", "median", "upper_80", "upper_95", "method", "reason"),
]


def shops() -> pd.DataFrame:
    """Two series of 40 months, and one of six, which is too short for a network."""
    parts = [
        pd.DataFrame(
            {
                "series": name,
                "period": pd.to_datetime(months(40)[-count:]),
                "value": factor * np.array(small_values(count)),
            }
        )
        for name, count, factor in (("a", 40, 1.0), ("b", 40, 2.5), ("c", 6, 1.0))
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def model() -> api.Model:
    return api.fit(shops(), frequency="MS", horizon=3, **SMALL)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Any]]:
    """The same data and settings through the pipeline: a file, a recipe, a database."""
    folder = tmp_path_factory.mktemp("pipeline")
    shops().to_csv(folder / "shops.csv", index=False, date_format="%Y-%m-%d")
    recipe = parse_recipe(
        """
        name = "shops"
        frequency = "MS"
        season_length = 4
        horizon = 3
        [source]
        kind = "csv"
        path = "shops.csv"
        period = "period"
        value = "value"
        series = "series"
        [model]
        architecture = "vanilla"
        units = 4
        context = 8
        [training]
        epochs = 2
        batch_size = 8
        """,
        where="shops.toml",
        folder=folder,
    )
    database = open_database(f"sqlite:///{folder}/store.db")
    require_schema(database)
    store = Store(database)
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)
    train_model(recipe, store, NOW)
    publish_forecast(recipe, store, NOW)
    yield store, recipe
    database.close()


@pytest.mark.tensorflow
def test_forecasts_are_the_rows_of_every_series_and_step(model: api.Model) -> None:
    forecasts = model.predict(shops())

    assert list(forecasts.columns) == COLUMNS
    assert forecasts.groupby("series").size().to_dict() == {"a": 3, "b": 3, "c": 3}
    assert forecasts.period[:3].tolist() == list(pd.to_datetime(["2023-05-01", "2023-06-01", "2023-07-01"]))
    assert (forecasts.lower_95 <= forecasts.lower_80).all()
    assert (forecasts.upper_80 <= forecasts.upper_95).all()


@pytest.mark.tensorflow
def test_a_short_series_gets_a_labelled_baseline(model: api.Model) -> None:
    by_series = model.predict(shops()).groupby("series").first()

    assert by_series.method["a"] == "lstm"
    assert by_series.method["c"].startswith("fallback:")
    assert by_series.reason["c"]


@pytest.mark.tensorflow
def test_the_numbers_are_those_that_the_pipeline_publishes(model: api.Model, pipeline: tuple[Store, Any]) -> None:
    store, recipe = pipeline
    published = pd.DataFrame([dict(row) for row in store.runs.latest_forecasts(recipe.name)])

    forecasts = model.predict(shops())

    numbers = ["mean", "lower_95", "lower_80", "median", "upper_80", "upper_95"]
    order = ["series", "step"]
    ours, theirs = forecasts.sort_values(order), published.sort_values(order)
    np.testing.assert_array_equal(ours[numbers].to_numpy(), theirs[numbers].to_numpy())
    assert ours.method.tolist() == theirs.method.tolist()
    assert [str(period)[:10] for period in ours.period] == [str(period)[:10] for period in theirs.period]


@pytest.mark.tensorflow
def test_a_saved_model_forecasts_the_same(model: api.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "shops")

    pd.testing.assert_frame_equal(api.load(tmp_path / "shops").predict(shops()), model.predict(shops()))


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["network.onnx", "forecaster.json", "manifest.json", "training.json"])
def test_a_saved_model_that_was_changed_is_refused(model: api.Model, tmp_path: Path, name: str) -> None:
    model.save(tmp_path / "shops")
    (tmp_path / "shops" / name).write_bytes(b"changed")

    with pytest.raises(ModelRefused, match=r"missing or was changed|lists no files"):
        api.load(tmp_path / "shops")


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="manifest.json is missing"):
        api.load(tmp_path)
    with pytest.raises(ModelRefused, match="not a folder"):
        api.load(tmp_path / "nowhere")


@pytest.mark.tensorflow
def test_a_model_is_not_saved_where_nothing_can_be_written(model: api.Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidArgument, match="cannot be written"):
        model.save(tmp_path / "file" / "model")


@pytest.mark.tensorflow
def test_rows_may_come_in_any_order_and_columns_under_any_name(model: api.Model) -> None:
    renamed = (
        shops().rename(columns={"series": "unique_id", "period": "ds", "value": "y"}).sample(frac=1, random_state=0)
    )
    other = api.fit(renamed, frequency="MS", horizon=3, series="unique_id", period="ds", value="y", **SMALL)

    forecasts = other.predict(renamed)

    assert list(forecasts.columns[:2]) == ["unique_id", "ds"]
    np.testing.assert_array_equal(forecasts["mean"], model.predict(shops())["mean"])


@pytest.mark.tensorflow
def test_covariates_are_columns_of_the_frame() -> None:
    frame = shops()[lambda rows: rows.series != "c"].assign(offer=1.0, region="north")
    ahead = pd.DataFrame(
        {
            "series": np.repeat(["a", "b"], 3),
            "period": np.tile(pd.to_datetime(["2023-05-01", "2023-06-01", "2023-07-01"]), 2),
            "value": np.nan,
            "offer": 0.0,
            "region": "north",
        }
    )
    frame = pd.concat([frame, ahead], ignore_index=True)

    model = api.fit(frame, frequency="MS", horizon=3, covariates={"future": ["offer"], "static": ["region"]}, **SMALL)

    assert set(model.predict(frame).method) == {"lstm"}
    unknown = model.predict(frame.dropna(subset="value"))
    assert set(unknown.method) == {"fallback:seasonal-naive"}
    assert set(unknown.reason) == {"offer is not known for 3 of 3 periods ahead"}


@pytest.mark.tensorflow
def test_the_training_reports_its_held_out_errors(model: api.Model) -> None:
    scores = model.backtest_scores()

    assert {"lstm", "seasonal-naive"} <= set(scores.index)
    assert {"rmse", "mae", "mase", "smape"} <= set(scores.columns)


@pytest.mark.tensorflow
def test_a_backtest_gives_the_scores_of_the_command(pipeline: tuple[Store, Any]) -> None:
    store, recipe = pipeline
    expected = backtest(recipe, store, lambda: NOW, BacktestPlan(num_origins=2, as_of_now=True))

    result = api.backtest(shops(), frequency="MS", horizon=3, origins=2, **SMALL)

    assert result.scores().to_dict("index") == expected.scores()
    assert result.by_step().groupby("method").step.apply(list)["lstm"] == [1, 2, 3]
    assert set(result.by_series().series) == {"a", "b", "c"}
    assert result.by_origin().origin.nunique() == 2


@pytest.mark.tensorflow
def test_latest_forecasts_are_the_rows_of_the_view(
    pipeline: tuple[Store, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, recipe = pipeline
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", store.database.url.render_as_string(hide_password=False))

    assert len(api.latest_forecasts(recipe.name)) == 9
    assert set(api.latest_forecasts(recipe.name, series="a").series) == {"a"}
    with pytest.raises(
        NextperiodError, match="no forecast is published for unheard-of: run `nextperiod run unheard-of`"
    ):
        api.latest_forecasts("unheard-of")


def test_a_database_without_a_schema_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")

    with pytest.raises(SchemaOutOfDate, match="has no schema: run `nextperiod run milk` first"):
        api.latest_forecasts("milk")


def with_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(value=frame.value.astype(str).replace("100.0", "n/a"))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (shops().drop(columns="value"), "has no column value: it has period, series"),
        (shops().iloc[:0], "at least one observation"),
        (shops().assign(value=np.nan), "at least one observation"),
        (pd.concat([shops(), shops().iloc[:1]]), 'series "a" has two values for 2020-01-01'),
        (shops().assign(value=np.inf), "not finite|inf"),
        (shops().assign(period="yesterday"), "yesterday"),
        (shops().assign(period=shops().period + pd.Timedelta(days=3)), "MS"),
        (with_text(shops()), "n/a"),
    ],
    ids=["no column", "no row", "no value", "twice", "infinite", "no period", "off the grid", "text"],
)
def test_a_frame_that_cannot_be_used_is_refused_by_name(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"the frame cannot be used: .*({message})"):
        api.fit(frame, frequency="MS", horizon=3, **SMALL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frequency": "fortnight", "horizon": 3}, 'frequency "fortnight" is not known'),
        ({"frequency": "MS", "horizon": 0}, '"horizon": .*greater than 0'),
        ({"frequency": "MS", "horizon": 3, "seasons": 4}, 'unknown key "seasons": expected one of'),
        ({"frequency": "MS", "horizon": 3, "training": {"epoch": 4}}, 'unknown key "training.epoch"'),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRecipe, match=message):
        api.fit(shops(), **arguments)


def test_a_history_that_is_too_short_is_refused_before_training() -> None:
    with pytest.raises(
        NotEnoughHistory, match='series, "a", has 10 periods, horizon 3 needs 11: 1 more, or model.context of at most 7'
    ):
        api.fit(shops()[lambda rows: rows.series == "a"].iloc[:10], frequency="MS", horizon=3, **SMALL)


@pytest.mark.tensorflow
def test_the_example_runs_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(EXAMPLE), str(tmp_path / "model")],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "mase" in done.stdout


@pytest.mark.parametrize(
    ("by_start", "by_end"),
    [
        ("MS", "ME"),
        pytest.param("QS", "QE", marks=pytest.mark.slow),
        pytest.param("W-MON", "W-SUN", marks=pytest.mark.slow),
    ],
)
def test_periods_named_by_their_end_are_forecast_as_those_named_by_their_start(by_start: str, by_end: str) -> None:
    predictions = []
    for frequency in (by_start, by_end):
        periods = pd.date_range("2014-01-06" if by_start[0] == "W" else "2014-01-01", periods=60, freq=frequency)
        trend_and_season = np.arange(60) + 20 * np.sin(np.arange(60))
        frame = pd.DataFrame({"series": "a", "period": periods, "value": 100 + trend_and_season})
        model = api.fit(
            frame,
            frequency=frequency,
            horizon=4,
            season_length=4,
            model={"architecture": "vanilla", "units": 4, "context": 8},
            training={"epochs": 2},
            covariates={"calendar": ["month"], "holidays": "US"},
        )
        predictions.append(model.predict(frame))

    numbers = predictions[0].drop(columns="period").select_dtypes("number").columns
    pd.testing.assert_frame_equal(predictions[0][numbers], predictions[1][numbers])
    assert (predictions[1].period - predictions[0].period).dt.days.between(6, 92).all()
