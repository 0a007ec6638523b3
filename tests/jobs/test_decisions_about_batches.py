"""What a person accepted is the new expectation; a rejected batch stays out; an accepted one can be withdrawn."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.config.loader import load_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld, BatchRefused, NoObservations, NothingHeld
from pipeline.jobs.ingest import IngestResult, approve_batch, ingest_source, reject_batch, withdraw_batch
from pipeline.jobs.inputs import LATEST
from pipeline.jobs.reset import preview_reset, reset_recipe
from pipeline.storage.store import Store
from tests.support.examples import NOW, months
from tests.support.recipes import build_recipe

CASES = Path(__file__).parents[1] / "cases"

Row = tuple[str, str, str]


def listed(store: Store, query: str) -> list[tuple[Any, ...]]:
    with store.database.read() as transaction:
        return [tuple(row) for row in transaction.connection.execute(sa.text(query)).all()]


def values(store: Store) -> dict[tuple[str, str], float]:
    rows = listed(store, "select series, period, value from current_observations")
    return {(series, str(period)[:10]): value for series, period, value in rows}


def case(name: str, folder: Path, store: Store) -> Recipe:
    for file in (CASES / name).iterdir():
        shutil.copy(file, folder / file.name)
    recipe = load_recipe(str(folder / "recipe.toml"), folder)
    store.recipes.register(recipe)
    return recipe


def deliver(recipe: Recipe, store: Store, folder: Path, file: str) -> IngestResult:
    shutil.copy(folder / file, folder / "data.csv")
    return ingest_source(recipe, store, NOW)


def shops(count: int = 30, names: Sequence[str] = "abcdef", factor: float = 1.0) -> list[Row]:
    """Values of which no two neighbours are in the same ratio."""
    return [
        (month, f"{factor * (100 + 7 * s + (n * n) % 23):g}", name)
        for s, name in enumerate(names)
        for n, month in enumerate(months(count))
    ]


@pytest.fixture
def recipe(store: Store, tmp_path: Path) -> Recipe:
    recipe = build_recipe("small", folder=tmp_path, source={"series": "shop"})
    store.recipes.register(recipe)
    return recipe


def give(recipe: Recipe, store: Store, rows: Sequence[Row], *, day: int = 0) -> IngestResult:
    (recipe.folder / "small.csv").write_text("month,sold,shop\n" + "".join(f"{','.join(row)}\n" for row in rows))
    return ingest_source(recipe, store, NOW + timedelta(days=day))


def test_a_lost_series_that_was_approved_is_not_held_again(store: Store, tmp_path: Path) -> None:
    recipe = case("approval-is-forgotten-lost-series", tmp_path, store)
    deliver(recipe, store, tmp_path, "data-1.csv")
    with pytest.raises(BatchHeld, match=r"only \d+ of \d+ stored values are delivered again"):
        deliver(recipe, store, tmp_path, "data-2.csv")
    approve_batch(recipe, store, NOW)

    assert deliver(recipe, store, tmp_path, "data-3.csv").num_new > 0


def test_a_finer_frequency_that_was_approved_is_not_held_again(store: Store, tmp_path: Path) -> None:
    recipe = case("approval-is-forgotten-finer-frequency", tmp_path, store)
    with pytest.raises(BatchHeld, match="most values are 4 periods apart"):
        deliver(recipe, store, tmp_path, "data-1.csv")
    approve_batch(recipe, store, NOW)

    assert deliver(recipe, store, tmp_path, "data-2.csv").num_new == 96


def test_only_a_further_loss_is_held_and_named(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    with pytest.raises(BatchHeld, match='only 150 of 180 .* again, none of series "f"; .*: has the source lost rows'):
        give(recipe, store, shops(names="abcde"))
    approve_batch(recipe, store, NOW)

    assert give(recipe, store, shops(31, names="abcde")).num_new == 5
    with pytest.raises(BatchHeld, match='only 124 of 155 .* again, none of series "e"; .*: has the source lost rows'):
        give(recipe, store, shops(31, names="abcd"))


def test_a_series_that_came_back_is_expected_again(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    with pytest.raises(BatchHeld):
        give(recipe, store, shops(names="abcde"))
    approve_batch(recipe, store, NOW)
    give(recipe, store, shops(31))

    with pytest.raises(BatchHeld, match="only 155 of 186"):
        give(recipe, store, shops(31, names="abcde"))


def test_a_history_cut_at_its_beginning_stays_cut(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    kept = [row for row in shops(33) if row[0] >= "2021-01-01"]
    with pytest.raises(BatchHeld, match="only 93 of 180"):
        give(recipe, store, kept[: -3 * 6])
    approve_batch(recipe, store, NOW)

    assert give(recipe, store, kept).num_new > 0


def test_a_coarser_history_that_was_approved_may_go_on(recipe: Recipe, store: Store) -> None:
    coarse = [row for row in shops(60) if row[0][5:7] in ("01", "04", "07", "10")]
    give(recipe, store, shops())
    with pytest.raises(BatchHeld, match="most values are 3 periods apart"):
        give(recipe, store, [row for row in coarse if row[0] < "2022-07-01"])
    approve_batch(recipe, store, NOW)

    assert give(recipe, store, coarse).num_new == 60
    half_yearly = [row for row in coarse if row[0][5:7] in ("01", "07")]
    with pytest.raises(BatchHeld, match="most values are 6 periods apart"):
        give(recipe, store, half_yearly)


@pytest.mark.parametrize("factor", [0.5, 1000.0])
def test_a_rescaled_history_that_was_approved_may_go_on(factor: float, recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    with pytest.raises(BatchHeld, match=f"times {factor:g}"):
        give(recipe, store, shops(factor=factor))
    approve_batch(recipe, store, NOW)

    assert give(recipe, store, shops(31, factor=factor)).num_new == 6
    with pytest.raises(BatchHeld, match=f"times {1 / factor:g}"):
        give(recipe, store, shops(31))


def test_a_shifted_history_that_was_approved_may_go_on(recipe: Recipe, store: Store) -> None:
    def shifted(count: int) -> list[Row]:
        return [(months(60)[months(60).index(month) + 2], value, shop) for month, value, shop in shops(count)]

    give(recipe, store, shops(40, names="a"))
    with pytest.raises(BatchHeld):
        give(recipe, store, [row for row in shifted(40) if row[2] == "a"])
    approve_batch(recipe, store, NOW)

    assert give(recipe, store, [row for row in shifted(41) if row[2] == "a"]).num_new == 1


def test_a_message_about_gaps_lists_only_the_new_ones(store: Store, tmp_path: Path) -> None:
    strict = build_recipe("small", folder=tmp_path, source={"series": "shop", "strict": True})
    store.recipes.register(strict)
    rows = [row for row in shops(names="a") if row[0] not in ("2020-03-01", "2020-07-01")]
    with pytest.raises(BatchHeld, match="no value for 2 periods"):
        give(strict, store, rows)
    approve_batch(strict, store, NOW)

    with pytest.raises(BatchHeld, match="no value for 1 period between its first and its last: 2022-07-01"):
        give(strict, store, [*rows, ("2022-08-01", "1", "a")])


def test_the_preview_says_what_an_approval_changes(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    with pytest.raises(BatchHeld):
        give(recipe, store, shops(31, names="abcde", factor=2.0))

    held = store.batches.held("small")

    assert held is not None
    assert held.preview.lines() == [
        "5 new, 150 revised, 0 unchanged",
        "30 stored values are no longer delivered",
        'no longer delivered at all: "f"',
        *(f'"{name}" is rescaled by 2' for name in "abcde"),
        '"a" 2020-01-01: 100 → 200',
        '"a" 2020-02-01: 101 → 202',
        '"a" 2020-03-01: 104 → 208',
    ]


def test_a_rejected_batch_stays_out_and_is_not_held_again(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    before = values(store)
    with pytest.raises(BatchHeld):
        give(recipe, store, shops(factor=2.0))

    reject_batch(recipe, store, NOW)

    for _ in range(2):
        assert give(recipe, store, shops(factor=2.0)).num_read == 0
    assert values(store) == before
    assert listed(store, "select status, decision from batches order by batch_id") == [
        ("accepted", None),
        ("refused", "rejected"),
    ]
    assert listed(store, "select count(*) from held_rows") == [(0,)]
    with pytest.raises(NothingHeld):
        approve_batch(recipe, store, NOW)
    with pytest.raises(NothingHeld):
        reject_batch(recipe, store, NOW)
    assert give(recipe, store, shops(31)).num_new == 6


def test_a_withdrawn_batch_leaves_what_was_known_before(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    before = values(store)
    changed = [("2020-01-01", "9", "a"), *shops(31)[1:]]
    give(recipe, store, changed, day=1)
    assert values(store) != before

    result = withdraw_batch(recipe, store, NOW + timedelta(days=2), batch_id=2)

    assert result.num_revised == 7
    assert values(store) == before
    panel = store.observations.panel(recipe, NOW + timedelta(days=1))
    assert panel is not None
    assert len(panel.grid) == 31  # as it was known then
    assert give(recipe, store, changed, day=3).num_read == 0
    with pytest.raises(NothingHeld, match="batch 2 of small was withdrawn already"):
        withdraw_batch(recipe, store, NOW, batch_id=2)
    with pytest.raises(NothingHeld, match="batch 99 of small is no accepted batch"):
        withdraw_batch(recipe, store, NOW, batch_id=99)


def test_a_withdrawal_keeps_what_later_batches_said(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    give(recipe, store, [("2020-01-01", "9", "a"), ("2020-02-01", "9", "a"), *shops()[2:]])
    give(recipe, store, [("2020-01-01", "8", "a"), ("2020-02-01", "9", "a"), *shops()[2:]])

    assert withdraw_batch(recipe, store, NOW, batch_id=2).num_revised == 1
    assert values(store)["a", "2020-01-01"] == 8
    assert values(store)["a", "2020-02-01"] == 101


def test_a_withdrawn_approval_is_no_longer_expected(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    with pytest.raises(BatchHeld):
        give(recipe, store, shops(names="abcde"))
    approved = approve_batch(recipe, store, NOW)
    assert approved.batch_id is not None

    withdraw_batch(recipe, store, NOW, batch_id=approved.batch_id)

    with pytest.raises(BatchHeld, match="only 150 of 180"):
        give(recipe, store, shops(31, names="abcde"))


def test_a_reset_begins_the_history_again(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    known = store.observations.panel(recipe, LATEST)
    assert known is not None

    preview = preview_reset(recipe, store)
    assert (preview.num_series, preview.num_values, preview.model_version) == (6, 180, None)
    assert len(values(store)) == 180
    assert reset_recipe(recipe, store, NOW + timedelta(days=1)) == preview

    assert values(store) == {}
    assert store.observations.panel(recipe, LATEST) is None
    assert store.batches.fetch_context("small", NOW).newest_period is None
    again = store.observations.panel(recipe, NOW)
    assert again is not None
    assert again.data_hash == known.data_hash  # past runs can be reproduced
    assert give(recipe, store, shops(10, factor=1000.0), day=2).num_read == 60
    assert len(values(store)) == 60


def test_there_is_nothing_to_reset_before_the_first_delivery(recipe: Recipe, store: Store) -> None:
    with pytest.raises(NoObservations, match="there is nothing to reset"):
        reset_recipe(recipe, store, NOW)


def test_a_recipe_that_began_on_another_grid_can_be_reset(store: Store, tmp_path: Path) -> None:
    recipe = build_recipe("small", folder=tmp_path, frequency="h", source={"series": "shop"})
    store.recipes.register(recipe)
    hours = [(f"2024-01-{1 + n // 24:02d} {n % 24:02d}:00", str(n % 7), "a") for n in range(60)]
    give(recipe, store, hours)
    shifted = [(hour.replace(":00", ":30"), value, shop) for hour, value, shop in hours]
    with pytest.raises(
        BatchRefused, match=r"different grids .* `nextperiod reset small --yes` starts the history again"
    ):
        give(recipe, store, shifted)

    reset_recipe(recipe, store, NOW)

    assert give(recipe, store, shifted, day=1).num_read == 60
    assert listed(store, "select count(*) from current_observations") == [(60,)]


def rescaled(rows: Sequence[Row], names: str) -> list[Row]:
    """The rows, with the values of some shops in another unit."""
    return [(month, f"{1000 * float(sold):g}" if name in names else sold, name) for month, sold, name in rows]


def test_one_rescaled_series_of_six_is_held_alone_and_the_others_go_in(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())

    result = give(recipe, store, rescaled(shops(31), "f"))

    assert (result.num_new, result.num_revised, result.num_same, result.num_rejected) == (5, 0, 150, 0)
    assert result.on_hold is not None
    assert result.on_hold.startswith(
        'the values of series "f" are the stored ones times 1000; "f" on hold; if this is right'
    )
    assert "--approve" in result.on_hold
    period = months(31)[-1]
    assert ("a", period) in values(store)
    assert ("f", period) not in values(store)
    assert values(store)["f", months(1)[0]] == 135
    held = store.batches.held("small")
    assert held is not None
    assert held.preview.lines()[0] == "1 new, 30 revised, 0 unchanged"
    assert give(recipe, store, rescaled(shops(31), "f")) == IngestResult(source="small.csv")
    assert store.batches.held("small") == held


def test_a_series_that_was_held_alone_can_be_approved(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    give(recipe, store, rescaled(shops(31), "f"))

    approved = approve_batch(recipe, store, NOW)

    assert (approved.num_new, approved.num_revised) == (1, 30)
    assert values(store)["f", months(1)[0]] == 135_000
    again = give(recipe, store, rescaled(shops(32), "f"), day=1)
    assert (again.num_new, again.num_revised, again.on_hold) == (6, 0, None)


def test_a_series_that_was_held_alone_stays_out_until_it_is_right_again(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())
    give(recipe, store, rescaled(shops(31), "f"))
    second = give(recipe, store, rescaled(shops(32), "f"), day=1)
    right = give(recipe, store, shops(33), day=2)

    assert (second.num_new, second.on_hold is not None) == (5, True)
    assert (right.num_new, right.num_revised, right.on_hold) == (5 + 3, 0, None)
    assert store.batches.held("small") is None


@pytest.mark.parametrize(
    ("names", "wrong"),
    [("abc", "c"), ("abcdef", "ef"), ("abcdef", "abcdef")],
    ids=["one of three", "two of six", "all"],
)
def test_more_than_a_quarter_of_the_series_hold_the_whole_batch(
    names: str, wrong: str, recipe: Recipe, store: Store
) -> None:
    give(recipe, store, shops(names=names))

    with pytest.raises(BatchHeld, match="are the stored ones times 1000"):
        give(recipe, store, rescaled(shops(31, names), wrong))

    assert len(values(store)) == 30 * len(names)


def test_a_strict_recipe_holds_the_whole_batch_for_one_series(store: Store, tmp_path: Path) -> None:
    recipe = build_recipe("small", folder=tmp_path, source={"series": "shop", "strict": True})
    store.recipes.register(recipe)
    give(recipe, store, shops())

    with pytest.raises(BatchHeld):
        give(recipe, store, rescaled(shops(31), "f"))


def test_a_lost_series_holds_the_whole_batch_although_another_is_rescaled(recipe: Recipe, store: Store) -> None:
    give(recipe, store, shops())

    with pytest.raises(BatchHeld, match=r'again, none of series "e"'):
        give(recipe, store, [row for row in rescaled(shops(31), "f") if row[2] != "e"])

    assert len(values(store)) == 30 * 6


def test_series_are_held_in_the_transaction_in_which_the_others_are_accepted(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("killed")

    give(recipe, store, shops())
    before = values(store)
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.storage.batches._insert_held", die)
        with pytest.raises(RuntimeError):
            give(recipe, store, rescaled(shops(31), "f"))

    assert values(store) == before
    assert give(recipe, store, rescaled(shops(31), "f")).on_hold is not None
