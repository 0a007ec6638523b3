"""The answer to "Can I trust it?", and the model card."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from pipeline.records.lineage import Lineage, ModelVersion
from pipeline.records.training import LevelHits, TrainingRecord
from pipeline.reporting.assessment import Assessment, assess_model, binomial_interval
from pipeline.reporting.model_card import render_model_card
from pipeline.timeseries.forecast import LEVELS
from tests.support.training_records import HASH, milk_panel, monthly, recipe_of, record_of, with_details


def assessment(**changes: Any) -> Assessment:
    return assess_model(recipe_of(), with_details(milk_panel(monthly()), **changes))


def hits(num: int) -> tuple[LevelHits, ...]:
    return tuple(LevelHits(level=level, share=level, num=num) for level in LEVELS)


#: better than the baseline at each of twenty origins, with calibrated intervals
GOOD: dict[str, Any] = {
    "num_origins": 60,
    "num_apart": 20,
    "skill": 0.2875,
    "mase_by_origin": {"lstm": (0.5, 0.5), "seasonal-naive": (0.9, 0.9)},
    "hits": hits(60),
    "coverage": {"80": 0.8, "95": 0.95},
}


def test_a_model_that_was_better_at_most_origins_is_trusted() -> None:
    assessed = assessment(**GOOD)

    assert assessed.kind == "yes"
    assert assessed.answer == "Yes, as far as 20 separate origins can tell."
    assert assessed.reasons == (
        "It was better at 100% of 60 origins.",
        "The 80 % interval, before calibration, contained 48 of 60 observations.",
        "The 95 % interval, before calibration, contained 57 of 60 observations.",
    )


@pytest.mark.parametrize("skill", [0.0, -0.2])
def test_a_model_that_is_no_better_than_its_baseline_is_not_trusted(skill: float) -> None:
    assessed = assessment(**GOOD | {"skill": skill})

    assert (assessed.kind, assessed.answer) == ("no", "Not more than seasonal-naive: the network was no better.")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_apart": 1}, "measured from 1 origin (of 60; the others share periods with it): too few to be sure"),
        ({"num_apart": 2}, "measured from 2 origins (of 60; the others share periods with them): too few"),
        ({"num_apart": None}, "measured from few origins: too few"),
        ({"coverage": {"80": 0.5}}, "contained 30 of 60 observations; chance does not explain this: it is too narrow"),
        ({"coverage": {"80": 1.0}}, "contained 60 of 60 observations; chance does not explain this: it is too wide"),
        ({"coverage": {}, "hits": ()}, "computed from these same errors"),
        ({"mase_by_origin": {"lstm": (2.0, 0.5), "seasonal-naive": (0.9, 0.9)}}, "better at only 50% of 60 origins"),
    ],
)
def test_each_concern_is_named_and_asks_for_care(change: dict[str, Any], words: str) -> None:
    assessed = assessment(**GOOD | change)

    assert assessed.kind == "care"
    assert words in " ".join(assessed.reasons)


def test_a_coverage_that_chance_explains_is_no_concern() -> None:
    assert assessment(**GOOD | {"hits": hits(6), "coverage": {"80": 1.0}}).kind == "yes"


def test_without_a_backtest_the_answer_is_unknown() -> None:
    assessed = assess_model(recipe_of(), record_of(milk_panel(monthly()), backtest=None))

    assert assessed.kind == "unknown"
    assert "too short for a backtest" in assessed.answer


def test_without_a_skill_the_answer_is_unknown() -> None:
    assert assessment(**GOOD | {"skill": None}).kind == "unknown"


def test_the_binomial_interval_holds_nineteen_of_twenty_counts() -> None:
    low, high = binomial_interval(np.array([0.1, 0.8]), 50)

    for level, below, above in zip((0.1, 0.8), low, high, strict=True):
        inside = sum(binom.pmf(k, 50, level) for k in range(round(below * 50), round(above * 50) + 1))
        assert 0.95 <= inside < 0.99


def card(record: TrainingRecord, verdict: str | None = None, **changes: Any) -> str:
    model = ModelVersion(
        recipe="milk",
        model_version=3,
        model_hash=HASH,
        training="retrain",
        reason="12 new periods",
        cutoff=np.datetime64("1965-12-01", "us"),
        training_fingerprint="f",
        lineage=Lineage(
            as_of=datetime(1966, 1, 5, tzinfo=UTC),
            data_hash="d1a",
            recipe_fingerprint="r1e",
            code_version="0.1.0+abc",
        ),
        skill=None,
        trained_at=datetime(1966, 1, 5, tzinfo=UTC),
        mlflow_run_id=None,
        record=record,
    )
    return render_model_card(recipe_of(**changes), model, verdict)


def test_the_card_holds_facts_accuracy_usage_and_lineage() -> None:
    record = with_details(milk_panel(monthly())).model_copy(
        update={"began": "1962-01-01T00:00:00.000000", "num_observations": 48}
    )

    text = card(record, "promoted: better at 12 origins", publish={"minimum": 0})

    for fact in (
        "# milk: Monthly milk production",
        "**Can I trust it?** With care.",
        "forecasts the next 3 periods (MS: month named by the first day, season of 12) in pounds per cow",
        "data: 1 series, 1962-01-01 to 1965-12-01, 48 observations",
        "training: retrain; reason: 12 new periods",
        "gate: promoted: better at 12 origins",
        "| this model | 11.327 | 8.451 | 0.7123 | 1.4560 |",
        "| seasonal-naive (the baseline) | 14.204 | 12.006 | \N{EN DASH} | 1.9980 |",
        "Coverage before the intervals are calibrated: 83% in the 80 % interval, 100% in the 95 % interval, of 6 observations.",
        "3 origins, 2 of them without a period in common",
        "at least 0",
        "from latest_forecasts where recipe = 'milk'",
        HASH,
        "0.1.0+abc",
        "d1a",
    ):
        assert fact in text


def test_a_card_without_a_backtest_says_why() -> None:
    text = card(record_of(milk_panel(monthly()), backtest=None))

    assert "None: the history is too short for one." in text


def test_text_from_outside_is_escaped_in_the_card() -> None:
    text = card(record_of(milk_panel(monthly())), description="[click](x)\n# <b>big</b>")

    assert text.splitlines()[0] == r"# milk: \[click\](x) \# \<b\>big\</b\>"
