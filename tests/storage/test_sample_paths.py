"""Sample paths are in the table and in the file, the same in both; asking again adds nothing; all of a call or none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from pipeline.errors import InvalidArgument, NextperiodError, Overtaken
from pipeline.forecasting.sample_paths import default_seed
from pipeline.jobs import sample_paths as job
from pipeline.jobs.forecast import publish_forecast
from pipeline.jobs.sample_paths import SamplePathsResult, sample_paths
from pipeline.records.lineage import ModelVersion
from pipeline.storage.store import Store
from pipeline.timeseries.forecast import Forecast
from pipeline.training.process_files import TrainedModel
from tests.storage.raw_sql import change, rows, value
from tests.storage.small_store import add_model, batch, forecast, monthly, publish, take_in
from tests.support.examples import NOW, small_recipe, small_values

DAY = timedelta(days=1)
COLUMNS = ["recipe", "run_id", "series", "path", "step", "period", "value"]
#: what the file holds, asked of the tables
TOLD = """
    select runs.recipe, runs.run_id, series.series, path, step, period, value
    from sample_paths
    join runs using (run_number) join series_variables as series using (series_id) join run_steps using (run_number, step)
    order by series.series, path, step"""


@pytest.fixture
def model(store: Store, outcome: TrainedModel) -> ModelVersion:
    """The champion, in a store where the small series is known beside one that is too short for it."""
    store.recipes.register(small_recipe())
    take_in(store, batch({"small": monthly(small_values()), "new": dict(list(monthly(small_values()).items())[-5:])}))
    add_model(store, outcome)
    champion = store.models.champion("small")
    assert champion is not None
    return champion


@pytest.fixture
def run_id(store: Store, model: ModelVersion) -> str:
    return publish_forecast(small_recipe(), store, NOW).run_id


def drawn(store: Store, run_id: str, folder: Path, num_paths: int, seed: int | None = None) -> SamplePathsResult:
    return sample_paths(small_recipe(), store, run_id, num_paths=num_paths, parquet=folder / "paths.parquet", seed=seed)


def table(store: Store) -> pd.DataFrame:
    found = pd.DataFrame(rows(store.database, TOLD), columns=COLUMNS)
    return found.assign(period=pd.to_datetime(found["period"]).astype("datetime64[us]"))


def assert_file_is(folder: Path, expected: pd.DataFrame) -> None:
    found = pd.read_parquet(folder / "paths.parquet")
    assert list(found.columns) == COLUMNS
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_dtype=False, check_exact=True)
    assert [path.name for path in folder.glob("*parquet*")] + [path.name for path in folder.glob(".*parquet*")] == [
        "paths.parquet"
    ]


def test_paths_are_in_the_table_and_in_the_file(store: Store, run_id: str, tmp_path: Path) -> None:
    facts = drawn(store, run_id, tmp_path, 230)

    assert facts == SamplePathsResult(
        status="written",
        num_paths=230,
        num_new=230,
        num_rows=1380,
        seed=default_seed(run_id),
        parquet=str(tmp_path / "paths.parquet"),
    )
    kept = table(store)
    assert len(kept) == 1380
    assert kept["path"].tolist() == np.repeat(np.arange(1, 231), 3).tolist() * 2
    assert kept["step"].tolist() == [1, 2, 3] * 460
    assert [str(period)[:10] for period in kept["period"][:3]] == ["2023-05-01", "2023-06-01", "2023-07-01"]
    assert set(kept["series"]) == {"new", "small"}
    assert set(kept["run_id"]) == {run_id}
    assert_file_is(tmp_path, kept)


def test_paths_have_the_published_quantiles_of_the_network_and_of_fallbacks(
    store: Store, run_id: str, tmp_path: Path
) -> None:
    drawn(store, run_id, tmp_path, 2000)

    shares = """
        select method, sum(case when value {} {} then 1.0 else 0.0 end) / 2000
        from sample_paths join forecasts using (run_number, series_id, step) join run_series using (run_number, series_id)
        group by method, step order by method, step"""
    levels = {"lower_95": 0.025, "lower_80": 0.1, "median": 0.5, "upper_80": 0.9, "upper_95": 0.975}
    for column, level in levels.items():
        error = 3 * np.sqrt(level * (1 - level) / 2000)
        below, up_to = (rows(store.database, shares.format(sign, column)) for sign in ("<", "<="))
        assert [method for method, _ in below] == ["fallback:naive"] * 3 + ["lstm"] * 3
        # the network's lower quantiles are one number: it has seen few errors
        assert all(float(share) <= level + error for _, share in below)
        assert all(float(share) >= level - error for _, share in up_to)
        assert [float(share) for _, share in below[:3]] == pytest.approx([level] * 3, abs=error)


def test_the_same_command_again_adds_nothing(store: Store, run_id: str, tmp_path: Path) -> None:
    first = drawn(store, run_id, tmp_path, 120)
    before = table(store)
    (tmp_path / "paths.parquet").unlink()

    again = drawn(store, run_id, tmp_path, 120)

    assert again == replace(first, status="unchanged", num_new=0)
    pd.testing.assert_frame_equal(table(store), before)
    assert_file_is(tmp_path, before)


def test_more_paths_continue_the_existing_ones_even_after_new_data(store: Store, run_id: str, tmp_path: Path) -> None:
    drawn(store, run_id, tmp_path, 120)
    before = table(store)
    take_in(store, batch({"small": {"2023-05-01": 500.0}}, "second"), NOW + DAY)

    more = drawn(store, run_id, tmp_path, 310)

    assert (more.status, more.num_new) == ("written", 190)
    after = table(store)
    pd.testing.assert_frame_equal(after[after["path"] <= 120].reset_index(drop=True), before)
    assert after.groupby("series")["path"].max().to_dict() == {"new": 310, "small": 310}
    assert after[["series", "path", "step"]].drop_duplicates().shape[0] == len(after) == 2 * 310 * 3
    new = after[after["series"] == "new"]
    assert new["value"].nunique() == len(new)
    assert_file_is(tmp_path, after)


def test_fewer_paths_are_the_first_of_the_existing_ones(store: Store, run_id: str, tmp_path: Path) -> None:
    drawn(store, run_id, tmp_path, 120)
    before = table(store)

    fewer = drawn(store, run_id, tmp_path, 7)

    assert (fewer.status, fewer.num_paths, fewer.num_new, fewer.num_rows) == ("unchanged", 7, 0, 42)
    pd.testing.assert_frame_equal(table(store), before)
    assert_file_is(tmp_path, before[before["path"] <= 7])


def test_paths_of_another_seed_are_refused(store: Store, run_id: str, tmp_path: Path) -> None:
    drawn(store, run_id, tmp_path, 20, seed=5)
    before = table(store)

    for seed in (6, None):
        with pytest.raises(
            InvalidArgument, match=rf"{run_id} has 20 paths of another seed than \d+, or drawn by another"
        ):
            drawn(store, run_id, tmp_path, 40, seed=seed)

    pd.testing.assert_frame_equal(table(store), before)
    assert drawn(store, run_id, tmp_path, 40, seed=5).num_new == 20


def test_paths_follow_the_published_forecast_not_the_current_network(
    store: Store, model: ModelVersion, tmp_path: Path
) -> None:
    """A forecast that was calibrated, bounded or made by hand is what the paths spread as."""
    made = forecast([1000, 2000, 3000], series=("new", "small"))
    run, _ = publish(store, made, model, as_of=NOW)

    drawn(store, run.run_id, tmp_path, 1000)

    shares = table(store).assign(low=lambda told: told["value"] < 1000 * told["step"] - 8)
    assert shares.groupby(["series", "step"])["low"].mean().tolist() == pytest.approx([0.025] * 6, abs=0.01)


def test_another_run_has_paths_of_its_own(store: Store, run_id: str, tmp_path: Path) -> None:
    drawn(store, run_id, tmp_path, 10)
    take_in(store, batch({"small": {"2023-05-01": 140.0}}, "second"), NOW + DAY)
    later = publish_forecast(small_recipe(), store, NOW + DAY).run_id

    facts = drawn(store, later, tmp_path, 10)

    assert later != run_id
    assert (facts.status, facts.seed) == ("written", default_seed(later))
    assert default_seed(later) != default_seed(run_id)
    kept = table(store)
    assert kept.groupby("run_id").size().to_dict() == {run_id: 60, later: 60}
    assert_file_is(tmp_path, kept[kept["run_id"] == later])


@pytest.mark.parametrize("num_paths", [0, 10_000_000])
def test_no_paths_and_too_many_are_refused(store: Store, run_id: str, tmp_path: Path, num_paths: int) -> None:
    with pytest.raises(InvalidArgument, match="expected at"):
        drawn(store, run_id, tmp_path, num_paths)

    assert len(table(store)) == 0
    assert not list(tmp_path.glob("*.parquet"))


def test_a_file_without_a_folder_is_refused_before_anything_is_drawn(store: Store, run_id: str, tmp_path: Path) -> None:
    for file in (tmp_path / "no" / "paths.parquet", tmp_path):
        with pytest.raises(InvalidArgument, match="expected a file in an existing folder|expected the name of a file"):
            sample_paths(small_recipe(), store, run_id, num_paths=5, parquet=file)

    assert len(table(store)) == 0


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_the_paths_in_the_table(
    store: Store, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(store, run_id, tmp_path, 5)
    before = table(store)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(NextperiodError, match="the paths are in the database, but not in .*no space left on device"):
        drawn(store, run_id, tmp_path, 9)

    monkeypatch.undo()
    assert_file_is(tmp_path, before)
    assert drawn(store, run_id, tmp_path, 9).status == "unchanged"
    assert_file_is(tmp_path, table(store))


def test_an_interrupted_call_leaves_nothing(
    store: Store, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_VALUES_PER_READ", 100)
    whole = job._read_values

    def cut(spool: object) -> Iterator[npt.NDArray[np.float64]]:
        pieces = whole(spool)  # type: ignore[arg-type]
        yield next(pieces)
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "_read_values", cut)
    with pytest.raises(KeyboardInterrupt):
        drawn(store, run_id, tmp_path, 50)

    assert len(table(store)) == 0
    assert not list(tmp_path.glob("*.parquet"))


def test_paths_that_another_worker_wrote_meanwhile_are_not_written_twice(
    store: Store, run_id: str, tmp_path: Path
) -> None:
    seen = store.sample_paths.of_run(run_id)
    drawn(store, run_id, tmp_path, 5)

    with pytest.raises(
        Overtaken, match=f"run {run_id} was superseded, or paths of it were written, meanwhile: run again"
    ):
        store.sample_paths.add(seen, 5, [np.zeros(30)])

    assert len(table(store)) == 30


def test_a_run_that_was_superseded_meanwhile_gets_no_paths(store: Store, model: ModelVersion) -> None:
    first, _ = publish(store, forecast(series=("new", "small")), model)
    seen = store.sample_paths.of_run(first.run_id)
    publish(store, forecast([1, 2, 3], series=("new", "small")), model, data_hash="other")

    with pytest.raises(Overtaken):
        store.sample_paths.add(seen, 1, [np.zeros(6)])

    assert value(store.database, "select count(*) from sample_paths") == 0


def test_blocks_of_any_size_write_the_same_rows(
    store: Store, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(store, run_id, tmp_path, 230)
    whole = table(store)
    for module, name, size in (
        ("pipeline.jobs.sample_paths", "_VALUES_PER_READ", 7),
        ("pipeline.storage.sample_paths", "_BLOCK", 100),
        ("pipeline.jobs.sample_paths", "_ROWS_PER_WRITE", 50),
        ("pipeline.storage.bulk_load", "_BLOCK", 5),
    ):
        monkeypatch.setattr(f"{module}.{name}", size)
    _forget_paths(store)

    drawn(store, run_id, tmp_path, 40)
    drawn(store, run_id, tmp_path, 230)

    pd.testing.assert_frame_equal(table(store), whole)
    assert_file_is(tmp_path, whole)


def _forget_paths(store: Store) -> None:
    """Past the guards, which let nothing go."""
    if store.database.url.get_backend_name() == "sqlite":
        change(store.database, "drop trigger sample_paths_stay_on_delete")
    else:
        change(store.database, "alter table sample_paths disable trigger sample_paths_stay")
    change(store.database, "delete from sample_paths")


def test_paths_are_read_back_bit_for_bit(store: Store, model: ModelVersion) -> None:
    run, _ = publish(store, forecast(series=("new", "small")), model)
    told = np.array([[[1e-308, -1e308, 0.1 + 0.2]], [[1 / 3, -0.0, 123456789.123456789]]])

    store.sample_paths.add(store.sample_paths.of_run(run.run_id), 1, [told.ravel()])

    seen = store.sample_paths.of_run(run.run_id)
    found = {name: paths for name, _, paths in store.sample_paths.read(seen, 1)}
    assert isinstance(seen.forecast, Forecast)
    np.testing.assert_array_equal(found["new"], told[0])
    np.testing.assert_array_equal(found["small"], told[1])
