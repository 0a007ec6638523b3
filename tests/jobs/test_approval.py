"""A batch on hold counts for nothing until it is approved, and then once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld, BatchRefused, NothingHeld
from pipeline.ingest.changes import BatchDiff
from pipeline.jobs.ingest import approve_batch, ingest_source
from pipeline.jobs.inputs import LATEST
from pipeline.sources.delivery import Delivery, FetchContext
from pipeline.storage.batches import BatchRepository
from pipeline.storage.store import Store
from tests.support.deliveries import delivery_of
from tests.support.examples import NOW, SMALL_RECIPE, months, small_csv, small_recipe, small_values

HALVED = [value / 2 for value in small_values()]

Deliver = Callable[[Delivery], None]


def rows(store: Store, query: str) -> list[Any]:
    with store.database.read() as transaction:
        return list(transaction.connection.execute(sa.text(query)).all())


def statuses(store: Store) -> list[str]:
    return [row.status for row in rows(store, "select status from batches order by batch_id")]


def values(store: Store) -> list[float]:
    return [row.value for row in rows(store, "select value from current_observations order by period")]


def write(folder: Path, delivered: Sequence[float]) -> Recipe:
    (folder / "small.csv").write_text(small_csv(list(delivered)))
    return small_recipe(folder)


@pytest.fixture
def held(store: Store, tmp_path: Path) -> Recipe:
    """A recipe with a batch on hold that halves the history."""
    recipe = write(tmp_path, small_values())
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)
    with pytest.raises(BatchHeld):
        ingest_source(write(tmp_path, HALVED), store, NOW)
    return recipe


def test_an_approved_batch_is_ingested_as_it_was_delivered(held: Recipe, store: Store) -> None:
    assert (statuses(store), values(store)) == (["accepted", "held"], small_values())

    facts = approve_batch(held, store, NOW)

    assert (facts.source, facts.num_read, facts.num_revised, facts.num_new) == ("small.csv", 40, 40, 0)
    assert values(store) == HALVED
    assert statuses(store) == ["accepted", "released", "accepted"]
    released = "select batch_id from batches where status = 'released'"
    assert rows(store, "select releases from batches where releases is not null") == rows(store, released)
    assert rows(store, "select count(*) from held_rows") == [(0,)]


def test_the_same_file_after_its_approval_adds_nothing(held: Recipe, store: Store) -> None:
    approve_batch(held, store, NOW)

    assert ingest_source(held, store, NOW).num_read == 0
    assert len(statuses(store)) == 3


def test_a_batch_cannot_be_approved_twice(held: Recipe, store: Store) -> None:
    approve_batch(held, store, NOW)

    with pytest.raises(NothingHeld, match="no batch of small is on hold: there is nothing to approve"):
        approve_batch(held, store, NOW)
    assert statuses(store) == ["accepted", "released", "accepted"]


def test_a_later_accepted_batch_leaves_nothing_to_approve(held: Recipe, store: Store, tmp_path: Path) -> None:
    ingest_source(write(tmp_path, small_values(41)), store, NOW)

    with pytest.raises(NothingHeld):
        approve_batch(held, store, NOW)
    assert values(store) == small_values(41)
    assert statuses(store) == ["accepted", "held", "accepted"]


def test_the_same_delivery_is_held_once_however_often_it_comes(held: Recipe, store: Store) -> None:
    before = rows(store, "select * from batches order by batch_id")

    for _ in range(3):
        with pytest.raises(BatchHeld, match="times 0.5"):
            ingest_source(held, store, NOW)

    assert rows(store, "select * from batches order by batch_id") == before
    assert rows(store, "select count(*) from rejected_observations") == [(1,)]
    assert approve_batch(held, store, NOW).num_revised == 40


def test_of_two_held_batches_the_newer_one_is_approved(held: Recipe, store: Store, tmp_path: Path) -> None:
    with pytest.raises(BatchHeld):
        ingest_source(write(tmp_path, [value * 3 for value in small_values()]), store, NOW)

    approve_batch(held, store, NOW)

    assert values(store) == [value * 3 for value in small_values()]
    assert statuses(store) == ["accepted", "held", "released", "accepted"]


def test_a_held_batch_is_accepted_without_approval_once_the_recipe_allows_it(store: Store, tmp_path: Path) -> None:
    whole = small_csv().splitlines(keepends=True)
    (tmp_path / "small.csv").write_text("".join(whole[:6] + whole[8:]))
    recipe = small_recipe(tmp_path, "strict = true")
    store.recipes.register(recipe)
    with pytest.raises(BatchHeld, match="add the values, or raise max_gap"):
        ingest_source(recipe, store, NOW)

    lenient = recipe.model_copy(update={"max_gap": 2})
    lenient._folder = tmp_path

    assert ingest_source(lenient, store, NOW).num_new == 38


def test_covariates_attributes_and_series_of_a_held_batch_are_kept(store: Store, tmp_path: Path) -> None:
    delivered = [(month, "1", shop, "2.5", f"region {shop}") for shop in ("a", "b") for month in months(30)]
    recipe, header = _with_covariates(tmp_path), "month,sold,shop,price,region\n"
    store.recipes.register(recipe)
    lines = [",".join(row) + "\n" for row in delivered]
    (tmp_path / "small.csv").write_text(header + "".join(lines[:5] + lines[8:]))
    with pytest.raises(BatchHeld):
        ingest_source(recipe, store, NOW)
    assert rows(store, "select count(*) from series") == [(0,)]

    facts = approve_batch(recipe, store, NOW)

    assert facts.num_new == 2 * 57
    assert rows(store, "select count(*) from observations") == [(114,)]
    assert rows(store, "select value from attributes order by value") == [("region a",), ("region b",)]


def _with_covariates(folder: Path) -> Recipe:
    recipe = small_recipe(folder, 'series = "shop"')
    extended = Recipe.model_validate(
        recipe.model_dump() | {"covariates": {"past": ["price"], "static": ["region"]}}, strict=False
    )
    extended._folder = folder
    return extended


@pytest.fixture
def deliver(monkeypatch: pytest.MonkeyPatch) -> tuple[Deliver, list[FetchContext]]:
    """A function that sets the next delivery, and the contexts of all fetches."""
    given: list[Delivery] = []
    contexts: list[FetchContext] = []

    @contextmanager
    def fetch(recipe: Recipe, context: FetchContext) -> Iterator[Delivery]:
        contexts.append(context)
        yield given[-1]

    monkeypatch.setattr("pipeline.jobs.ingest.fetch", fetch)
    return given.append, contexts


def with_cursor(delivered: Sequence[tuple[str, ...]], cursor: str) -> Delivery:
    delivery = delivery_of(delivered, incremental=True, content_hash=cursor)
    return Delivery(
        source="table", content_hash=cursor, chunks=delivery.chunks, state={"cursor": cursor}, incremental=True
    )


def test_a_cursor_only_counts_once_its_batch_is_approved(
    store: Store, deliver: tuple[Deliver, list[FetchContext]]
) -> None:
    give, contexts = deliver
    recipe = small_recipe(source="strict = true")
    store.recipes.register(recipe)
    delivered = [(month, str(value)) for month, value in zip(months(40), small_values(), strict=True)]
    give(with_cursor(delivered[:20], "20"))
    ingest_source(recipe, store, NOW)

    give(with_cursor(delivered[21:], "40"))
    with pytest.raises(BatchHeld):
        ingest_source(recipe, store, NOW)
    with pytest.raises(BatchHeld):
        ingest_source(recipe, store, NOW)
    assert contexts[-1].state == {"cursor": "20"}
    approve_batch(recipe, store, NOW)
    ingest_source(recipe, store, NOW)

    assert contexts[-1].state == {"cursor": "40"}
    assert contexts[-1].content_hash == "40"
    assert statuses(store) == ["accepted", "released", "accepted"]


def test_an_increment_without_rows_adds_nothing(store: Store, deliver: tuple[Deliver, list[FetchContext]]) -> None:
    give, _ = deliver
    recipe = small_recipe()
    store.recipes.register(recipe)
    delivered = [(month, str(value)) for month, value in zip(months(40), small_values(), strict=True)]
    give(with_cursor(delivered, "40"))
    ingest_source(recipe, store, NOW)

    give(with_cursor([], "still 40"))

    assert ingest_source(recipe, store, NOW).num_read == 0
    assert len(values(store)) == 40


def test_an_increment_of_a_short_new_series_does_not_stop_the_others(
    store: Store, deliver: tuple[Deliver, list[FetchContext]]
) -> None:
    give, _ = deliver
    recipe = small_recipe(source='series = "shop"')
    store.recipes.register(recipe)
    give(with_cursor([(month, "1", "a") for month in months(40)], "40"))
    ingest_source(recipe, store, NOW)

    give(with_cursor([("2023-05-01", "1", "b")], "41"))

    assert ingest_source(recipe, store, NOW).num_new == 1


def test_an_approval_after_a_later_accepted_delivery_changes_nothing(
    held: Recipe, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = store.batches.held("small")
    ingest_source(write(tmp_path, small_values(41)), store, NOW)
    monkeypatch.setattr(BatchRepository, "held", lambda *_: waiting)

    with pytest.raises(NothingHeld, match="was approved or replaced meanwhile"):
        approve_batch(held, store, NOW)

    assert values(store) == small_values(41)
    assert statuses(store) == ["accepted", "held", "accepted"]


def test_of_two_simultaneous_approvals_one_counts(held: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = store.batches.held("small")
    approve_batch(held, store, NOW)
    monkeypatch.setattr(BatchRepository, "held", lambda *_: waiting)

    with pytest.raises(NothingHeld, match="was approved or replaced meanwhile"):
        approve_batch(held, store, NOW)

    assert statuses(store) == ["accepted", "released", "accepted"]


def test_a_refused_delivery_leaves_the_held_batch_in_place(held: Recipe, store: Store, tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_text("<html>busy</html>\n")
    with pytest.raises(BatchRefused):
        ingest_source(held, store, NOW)

    assert approve_batch(held, store, NOW).num_revised == 40


def test_values_of_a_replaced_held_batch_are_deleted(held: Recipe, store: Store, tmp_path: Path) -> None:
    assert rows(store, "select count(*) from held_rows") == [(1,)]

    ingest_source(write(tmp_path, small_values(41)), store, NOW)

    assert rows(store, "select count(*) from held_rows") == [(0,)]


def test_an_approved_gap_does_not_hold_the_next_delivery(store: Store, tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path, "strict = true")
    store.recipes.register(recipe)
    gappy = small_csv(small_values()).splitlines(keepends=True)
    del gappy[10:13]
    (tmp_path / "small.csv").write_text("".join(gappy))
    with pytest.raises(BatchHeld, match="has no value for 3 periods"):
        ingest_source(recipe, store, NOW)
    approve_batch(recipe, store, NOW)

    longer = small_csv(small_values(41)).splitlines(keepends=True)
    del longer[10:13]
    (tmp_path / "small.csv").write_text("".join(longer))

    assert ingest_source(recipe, store, NOW).num_new == 1


def test_changed_attributes_are_stored_though_no_value_changed(store: Store, tmp_path: Path) -> None:
    text = SMALL_RECIPE.format(source='series = "shop"') + '\n[covariates]\nstatic = ["region"]\n'
    recipe = parse_recipe(text, where="small.toml", folder=tmp_path)
    store.recipes.register(recipe)
    for n, region in enumerate(("north", "south")):
        lines = [f"{month},{value},a,{region}\n" for month, value in zip(months(40), small_values(), strict=True)]
        (tmp_path / "small.csv").write_text("month,sold,shop,region\n" + "".join(lines))
        ingest_source(recipe, store, NOW + timedelta(days=n))

    assert store.observations.attributes("small", NOW) == {"a": {"region": "north"}}
    assert store.observations.attributes("small", LATEST) == {"a": {"region": "south"}}


def test_a_moving_window_is_compared_with_the_history_that_it_covers(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long history only the last part is read again: a revision at its beginning, and a gap, are still seen."""
    monkeypatch.setattr(BatchDiff, "num_values_before", 4)
    recipe = small_recipe(tmp_path, "rolling = true\nstrict = true")
    store.recipes.register(recipe)
    every = small_csv(small_values(70)).splitlines(keepends=True)
    (tmp_path / "small.csv").write_text("".join(every[:51]))
    ingest_source(recipe, store, NOW)

    changed = [*every[:1], every[10].replace("\n", "1\n"), *every[11:54]]
    (tmp_path / "small.csv").write_text("".join(changed))
    ingested = ingest_source(recipe, store, NOW)

    assert (ingested.num_new, ingested.num_revised, ingested.num_same) == (3, 1, 40)
    assert len(values(store)) == 53
    (tmp_path / "small.csv").write_text("".join([*every[:1], *every[60:62]]))
    with pytest.raises(BatchHeld, match="has no value for 6 periods between its first and its last"):
        ingest_source(recipe, store, NOW)
