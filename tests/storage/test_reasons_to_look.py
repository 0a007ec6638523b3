"""`find_reasons` names what somebody should look at, once for each kind, and nothing where all is well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import BatchHeld
from pipeline.jobs.alerts import Alert, claim_alerts, find_new_alerts, find_reasons
from pipeline.jobs.ingest import ingest_source
from pipeline.records.lineage import ModelVersion
from pipeline.storage.store import Store
from tests.storage.small_store import NEVER, at_once, forecast, publish
from tests.support.examples import NOW, SMALL_RECIPE, small_csv, small_recipe, small_values

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def reasons(store: Store) -> list[tuple[str, str]]:
    return [(reason.kind, reason.text) for reason in find_reasons(store)]


def attempt(store: Store, status: str, error: str | None) -> None:
    attempt_id = store.recipes.begin_attempt("small", "run", NOW)
    store.recipes.end_attempt(attempt_id, status, error, NOW)


@pytest.fixture
def published(model: ModelVersion, observed_store: Store) -> Store:
    """A recipe that is well, but for MLflow, which has not been tried."""
    publish(observed_store, forecast(), model, expected_next_by=NEVER)
    return observed_store


def test_a_recipe_that_is_well_has_no_reason(published: Store) -> None:
    assert reasons(published) == []


def test_a_recipe_that_never_published_is_stale(store: Store) -> None:
    store.recipes.register(small_recipe())

    assert reasons(store) == [("stale", "no forecast was ever published")]


def test_an_overdue_forecast_is_stale(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model, expected_next_by=LONG_AGO)

    assert reasons(observed_store) == [
        ("stale", f"a newer forecast than that of {NOW:%Y-%m-%d %H:%M}Z was expected by 2001-01-01 00:00Z")
    ]


@pytest.mark.parametrize("status", ["failed", "refused"])
def test_the_last_attempt_counts_until_one_succeeds(published: Store, status: str) -> None:
    attempt(published, status, "the file is empty\nand more")

    assert reasons(published) == [(status, f"at {NOW:%Y-%m-%d %H:%M}Z: the file is empty\\nand more")]

    attempt(published, "unchanged", None)
    assert reasons(published) == []


def test_a_batch_on_hold_says_how_to_decide_about_it(published: Store, tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    (tmp_path / "small.csv").write_text(small_csv(small_values()))
    ingest_source(recipe, published, NOW)
    (tmp_path / "small.csv").write_text(small_csv([value / 1000 for value in small_values()]))
    with pytest.raises(BatchHeld):
        ingest_source(recipe, published, NOW)

    ((kind, text),) = reasons(published)

    assert kind == "on hold"
    assert text.endswith("; accept or drop it: nextperiod ingest small --approve or --reject")


def test_baselines_in_place_of_a_model_are_a_reason(model: ModelVersion, observed_store: Store) -> None:
    by_baselines = replace(forecast(), method=("fallback:seasonal-naive",), reason=("too short",))
    publish(observed_store, by_baselines, model, expected_next_by=NEVER)

    assert reasons(observed_store) == [("fallbacks", "baselines forecast 1 of 1 series")]


def test_what_mlflow_refused_is_a_reason_and_what_it_was_not_sent_is_none(published: Store) -> None:
    entry, *_ = published.outbox.pending()
    published.outbox.mark_failed(entry, "MLflow does not answer")

    assert reasons(published) == [
        ("outbox", f"MLflow does not show {entry.kind} {entry.reference}: MLflow does not answer")
    ]


def test_a_file_that_is_not_a_recipe_is_a_reason_until_it_is_one(published: Store, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text("name = ")

    (reason,) = find_reasons(published, recipes=tmp_path)

    assert str(reason).startswith(f"small: invalid: {tmp_path}/small.toml is not valid TOML: ")
    (tmp_path / "small.toml").write_text(SMALL_RECIPE.format(source=""))
    assert find_reasons(published, recipes=tmp_path) == []


def test_an_invalid_file_is_an_alert_if_its_recipe_ran_before(published: Store, tmp_path: Path) -> None:
    for name in ("small", "other"):
        (tmp_path / f"{name}.toml").write_text("name = ")

    alerts = find_new_alerts(published, find_reasons(published, recipes=tmp_path))

    assert [(alert.recipe, alert.kind, alert.state) for alert in alerts] == [("small", "invalid", "raised")]


FAILED = Alert(recipe="small", kind="failed", state="raised", reason="the file is empty")


def test_of_several_that_find_an_alert_at_once_one_sends_it(store: Store, database_url: str) -> None:
    store.recipes.register(small_recipe())

    def send(own: Store) -> int:
        with claim_alerts(own, [FAILED], NOW) as claimed:
            return len(claimed)

    assert sorted(at_once(database_url, 4, send), key=str) == [0, 0, 0, 1]
    assert len(store.alerts.open()) == 1


def test_an_alert_that_could_not_be_sent_is_not_recorded(store: Store) -> None:
    store.recipes.register(small_recipe())

    with pytest.raises(ZeroDivisionError), claim_alerts(store, [FAILED], NOW):
        raise ZeroDivisionError

    assert list(store.alerts.open()) == []
    with claim_alerts(store, [FAILED], NOW) as claimed:
        assert claimed == [FAILED]


def test_an_alert_is_sent_again_after_it_recovered(store: Store) -> None:
    store.recipes.register(small_recipe())
    recovered = replace(FAILED, state="recovered")

    sent = []
    for alert in (FAILED, FAILED, recovered, recovered, FAILED):
        with claim_alerts(store, [alert], NOW) as claimed:
            sent += claimed

    assert sent == [FAILED, recovered, FAILED]
