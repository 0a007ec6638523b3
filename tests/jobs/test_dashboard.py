"""What the forecast page reads from the store, and the folder that it is written to; on both databases."""

from __future__ import annotations

import contextlib
import json
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InvalidArgument, Rejection
from pipeline.jobs.dashboard import MARK, read_card, read_cards, read_recipe_page, write_dashboard
from pipeline.records.lineage import Decision
from pipeline.reporting.dashboard import MEAN, RecipePage
from pipeline.storage.engine import open_for_reading
from pipeline.storage.store import Store
from tests.storage.raw_sql import change, rows
from tests.storage.small_store import add_untrained, batch, forecast, monthly, publish, take_in
from tests.support.examples import NOW, small_recipe

HOUR = timedelta(hours=1)
NAMES = ("accurate", "wrong")


@pytest.fixture
def known(store: Store) -> Store:
    """Two series from January 2020 to April 2023 and a model; nothing is published."""
    store.recipes.register(small_recipe())
    take_in(store, batch({name: monthly([100.0 + n for n in range(40)]) for name in NAMES}))
    add_untrained(store)
    return store


@pytest.fixture
def published(known: Store) -> Store:
    """A forecast, the observation of its first step, its scores, and the forecast after that."""
    model = known.models.champion("small")
    assert model is not None
    publish(known, forecast((100, 110, 120), series=NAMES, baseline=(99, 99, 99)), model)
    take_in(known, batch({"accurate": {"2023-05-01": 101}, "wrong": {"2023-05-01": 150}}, "may"), NOW + HOUR)
    known.scores.score("small", "live", NOW + 2 * HOUR)
    second = forecast((130, 140, 150), origin="2023-05-01", series=NAMES)
    publish(known, second, model, data_hash="second", now=NOW + 3 * HOUR)
    return known


def page_of(store: Store, **options: Any) -> RecipePage:
    card = read_card(store, "small")
    assert card is not None
    page = read_recipe_page(store, card, **options)
    assert page is not None
    return page


def test_the_least_accurate_series_comes_first(published: Store) -> None:
    page = page_of(published)

    # the scale of both is 2: errors of 1 and 50
    assert [(series.name, series.num_scored, series.mase) for series in page.series] == [
        ("wrong", 1, 25.0),
        ("accurate", 1, 0.5),
    ]
    assert page.num_series == 2


def test_of_more_series_than_asked_for_the_least_accurate_ones_are_read(published: Store) -> None:
    page = page_of(published, num_series=1)

    assert [series.name for series in page.series] == ["wrong"]
    assert page.num_series == 2
    assert page.history.shape[0] == 1


def test_scores_are_those_of_the_view(published: Store) -> None:
    page = page_of(published)
    view = rows(
        published.database,
        "select series, step, num_scored, mase, skill, coverage_80, coverage_95 from forecast_accuracy",
    )

    assert page.scores is not None
    assert page.overall is not None
    names = [series.name for series in page.series]
    found = [
        (name, step + 1, page.scores.num_scored[s, step], page.scores.mase[s, step], page.scores.skill[s, step],
         page.scores.inside_80[s, step], page.scores.inside_95[s, step])
        for s, name in enumerate(names) for step in range(3) if page.scores.num_scored[s, step]
    ]  # fmt: skip
    assert sorted(found) == sorted(view)
    assert page.overall.num_scored.tolist() == [2, 0, 0]
    assert page.overall.mase[0] == 12.75  # of 0.5 and 25
    assert page.overall.inside_80[0] == 0.5
    assert page.overall.skill[0] == pytest.approx(1 - 51 / 53)  # errors 1 and 50, of the baseline 2 and 51
    assert (page.num_scored_runs, page.scored_since) == (2, "2023-04-01")


def test_history_is_what_is_known_now_with_gaps_as_nan(published: Store) -> None:
    take_in(published, batch({"wrong": {"2023-05-01": 140, "2023-07-01": 160}}, "july"), NOW + 4 * HOUR)

    page = page_of(published)

    wrong = page.history[0]
    assert page.periods[-1] == np.datetime64("2023-07-01", "us")
    assert wrong[-3] == 140.0  # revised
    assert math.isnan(wrong[-2])
    assert wrong[-1] == 160.0
    assert len(page.periods) == 43


def test_a_long_history_is_cut_to_its_last_periods(store: Store) -> None:
    store.recipes.register(small_recipe())
    take_in(store, batch({"long": monthly([float(n) for n in range(300)])}))

    page = page_of(store)

    assert page.history[0].tolist() == [float(n) for n in range(180, 300)]


def test_the_newest_run_and_the_one_before_are_compared(published: Store) -> None:
    page = page_of(published)

    assert page.newest is not None
    assert page.previous is not None
    assert (page.newest.run_id, page.previous.run_id) == ("small-2023-05-01-1", "small-2023-04-01-1")
    assert page.newest.numbers[0].tolist()[0] == [130, 122, 125, 135, 138]
    assert page.previous.numbers[0, :, MEAN].tolist() == [100, 110, 120]
    assert page.newest.periods[0] == np.datetime64("2023-06-01", "us")


def test_a_run_that_was_superseded_at_the_same_origin_is_the_previous_one(published: Store) -> None:
    model = published.models.champion("small")
    assert model is not None
    again = forecast((131, 141, 151), origin="2023-05-01", series=NAMES)
    publish(published, again, model, data_hash="third", now=NOW + 5 * HOUR)

    page = page_of(published)

    assert page.newest is not None
    assert page.previous is not None
    assert (page.newest.run_id, page.previous.run_id) == ("small-2023-05-01-2", "small-2023-05-01-1")


def test_a_series_that_the_previous_run_lacks_has_no_numbers_there(known: Store) -> None:
    model = known.models.champion("small")
    assert model is not None
    publish(known, forecast(series=("wrong",)), model)
    take_in(known, batch({"wrong": {"2023-05-01": 150}}, "may"), NOW + HOUR)
    publish(known, forecast(origin="2023-05-01", series=NAMES), model, data_hash="second")

    page = page_of(known)

    assert page.previous is not None
    lacks = {series.name: bool(np.isnan(page.previous.numbers[s]).all()) for s, series in enumerate(page.series)}
    assert lacks == {"accurate": True, "wrong": False}


def test_a_recipe_without_a_forecast_shows_its_history(known: Store) -> None:
    page = page_of(known)

    assert page.newest is None
    assert page.card.origin is None
    assert sorted(series.name for series in page.series) == list(NAMES)
    assert np.isfinite(page.history).all()
    assert [kind for kind, _ in page.card.reasons] == ["stale"]


def test_a_recipe_without_any_value_has_a_page(store: Store) -> None:
    store.recipes.register(small_recipe())

    page = page_of(store)

    assert page.series == ()
    assert len(page.periods) == 0


def test_an_empty_store_has_no_recipe(store: Store) -> None:
    assert read_cards(store) == []
    assert read_card(store, "small") is None


def test_a_card_says_what_is_published_and_draws_the_first_series(published: Store) -> None:
    (card,) = read_cards(published)

    assert (card.origin, card.num_series, card.num_fallback, card.model_version) == ("2023-05-01", 2, 0, 1)
    assert not card.is_stale
    assert card.sparkline is not None
    assert card.sparkline.series == "accurate"
    assert card.sparkline.history[-1] == 101.0
    assert card.sparkline.forecast[:, MEAN].tolist() == [130, 140, 150]


def test_a_recipe_of_another_release_is_named_and_has_no_page(published: Store) -> None:
    change(published.database, "update registered_recipes set definition = '{\"no\": 1}'")

    (card,) = read_cards(published)

    assert not card.has_page
    assert card.reasons[-1][1].endswith("run it again")
    assert read_recipe_page(published, card) is None


def test_decisions_about_models_and_batches_are_in_order_with_their_reasons(published: Store) -> None:
    gate = Decision(
        what="promotion", kind="live", outcome="not promoted", reason="no gain", model_version=1, as_of=NOW + 6 * HOUR
    )
    published.models.record_decision("small", gate, NOW + 6 * HOUR)
    recorded = (NOW + 7 * HOUR).strftime("%Y-%m-%d %H:%M:%S.%f+00:00")
    change(
        published.database,
        "insert into batches (recipe, source, content_hash, recorded_at, status, message, num_read, num_new, num_revised, "
        f"num_same, num_rejected) values ('small', 's', 'h', '{recorded}', 'held', 'half is missing', 0, 0, 0, 0, 0)",
    )

    log = page_of(published).log

    assert [(entry.title, entry.text) for entry in log][:2] == [
        ("Batch 3 is on hold", "half is missing"),
        ("Model 1 is not promoted by the gate", "no gain"),
    ]
    assert log[-1].title == "Model 1 is promoted by the gate"


def test_rejected_rows_are_listed_newest_first_and_their_number_is_limited(known: Store) -> None:
    rejections = [Rejection(rule="is not a number", line=n, column="sold", text=f"{n}x") for n in range(1, 61)]
    take_in(known, batch({"wrong": {"2023-05-01": 1}}, "bad", rejections), NOW + HOUR)

    page = page_of(known)

    assert len(page.rejected) == 50
    assert page.has_more_rejected
    assert (page.rejected[0].source, page.rejected[0].rule) == ("small.csv", "is not a number")


def test_the_site_is_written_from_a_store_that_is_only_read(published: Store, tmp_path: Path) -> None:
    url = published.database.url.render_as_string(hide_password=False)
    with contextlib.closing(open_for_reading(url)) as reading:
        written = write_dashboard(Store(reading), tmp_path / "site", NOW)

    assert files_in(tmp_path / "site") == [MARK, "index.html", "recipes/small.html"]
    assert written.num_recipes == 1
    assert written.num_bytes == sum(
        (tmp_path / "site" / name).stat().st_size for name in ("index.html", "recipes/small.html")
    )


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestFolder:
    """The folder is the same whatever the database."""

    def test_a_folder_with_other_files_is_refused_and_left_as_it_is(self, known: Store, site: Path) -> None:
        site.mkdir()
        (site / "index.html").write_text("mine")

        with pytest.raises(
            InvalidArgument, match="there are files that no dashboard wrote: expected a new or an empty"
        ):
            write_dashboard(known, site, NOW)

        assert files_in(site) == ["index.html"]
        assert (site / "index.html").read_text() == "mine"

    def test_a_second_call_replaces_its_own_pages_and_keeps_other_files(self, known: Store, site: Path) -> None:
        write_dashboard(known, site, NOW)
        (site / "robots.txt").write_text("mine")
        before = (site / "index.html").read_text()

        write_dashboard(known, site, NOW + HOUR)

        assert files_in(site) == [MARK, "index.html", "recipes/small.html", "robots.txt"]
        assert (site / "index.html").read_text() != before

    def test_a_page_that_somebody_else_put_there_is_not_overwritten(self, known: Store, site: Path) -> None:
        write_dashboard(known, site, NOW)
        (site / MARK).write_text(json.dumps(["index.html"]))
        (site / "recipes/small.html").write_text("mine")

        with pytest.raises(InvalidArgument, match=r"recipes/small.html is there, and no dashboard wrote it"):
            write_dashboard(known, site, NOW)

        assert (site / "recipes/small.html").read_text() == "mine"

    def test_pages_of_recipes_that_are_gone_are_removed(self, known: Store, site: Path) -> None:
        write_dashboard(known, site, NOW)
        (site / MARK).write_text(json.dumps(["index.html", "recipes/small.html", "recipes/gone.html"]))
        (site / "recipes/gone.html").write_text("old")

        write_dashboard(known, site, NOW)

        assert files_in(site) == [MARK, "index.html", "recipes/small.html"]

    def test_a_mark_cannot_lead_to_files_outside_the_folder(self, known: Store, site: Path, tmp_path: Path) -> None:
        write_dashboard(known, site, NOW)
        (tmp_path / "mine.txt").write_text("mine")
        (site / MARK).write_text(json.dumps(["index.html", "recipes/small.html", "../mine.txt"]))

        write_dashboard(known, site, NOW)

        assert (tmp_path / "mine.txt").read_text() == "mine"

    def test_a_file_in_place_of_the_folder_is_refused_in_one_line(self, known: Store, site: Path) -> None:
        site.write_text("mine")

        with pytest.raises(InvalidArgument, match=r"--out .*site: .*expected a new or an empty folder"):
            write_dashboard(known, site, NOW)
