"""The answer to "Can I trust it?" and the model's card: in words, from the figures, honest about few of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from pipeline.records.lineage import Lineage, ModelVersion
from pipeline.records.training import LevelHits, TrainingRecord
from pipeline.reporting.assessment import Assessment, chance_of, trust_of
from pipeline.reporting.model_card import render_model_card
from pipeline.timeseries.forecast import LEVELS
from tests.reporting.test_report import HASH, monthly, panel_of, recipe_of, record_of, with_details


def trust(**changes: Any) -> Assessment:
    return trust_of(recipe_of(), with_details(panel_of(monthly()), **changes))


def hits(num: int) -> tuple[LevelHits, ...]:
    return tuple(LevelHits(level=level, share=level, num=num) for level in LEVELS)


#: better than the baseline at every one of twenty origins, with intervals that hold
GOOD: dict[str, Any] = {
    "num_origins": 60,
    "num_apart": 20,
    "skill": 0.2875,
    "mase_by_origin": {"lstm": (0.5, 0.5), "seasonal-naive": (0.9, 0.9)},
    "hits": hits(60),
    "coverage": {"80": 0.8, "95": 0.95},
}


def test_a_model_that_was_better_almost_always_is_trusted_as_far_as_that_goes() -> None:
    told = trust(**GOOD)

    assert told.kind == "yes"
    assert told.answer == "Yes, as far as 20 separate origins can tell."
    assert told.reasons == (
        "It was better at 100% of 60 origins.",
        "The 80 % interval, before it is calibrated, held 48 of 60 observations.",
        "The 95 % interval, before it is calibrated, held 57 of 60 observations.",
    )


@pytest.mark.parametrize("skill", [0.0, -0.2])
def test_a_model_that_is_no_better_than_its_baseline_is_not_trusted(skill: float) -> None:
    told = trust(**GOOD | {"skill": skill})

    assert (told.kind, told.answer) == ("no", "Not more than seasonal-naive: the network was no better.")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_apart": 1}, "measured from 1 origin (of 60, the others share periods with it): too few to be sure"),
        ({"num_apart": 2}, "measured from 2 origins (of 60, the others share periods with them): too few"),
        ({"num_apart": None}, "measured from few origins: too few"),
        ({"coverage": {"80": 0.5}}, "held 30 of 60 observations, which chance does not explain: it is too narrow"),
        ({"coverage": {"80": 1.0}}, "held 60 of 60 observations, which chance does not explain: it is wider than"),
        ({"coverage": {}, "hits": ()}, "comes from these same errors"),
        ({"mase_by_origin": {"lstm": (2.0, 0.5), "seasonal-naive": (0.9, 0.9)}}, "better at only 50% of 60 origins"),
    ],
)
def test_each_doubt_is_told_and_asks_for_care(change: dict[str, Any], words: str) -> None:
    told = trust(**GOOD | change)

    assert told.kind == "care"
    assert words in " ".join(told.reasons)


def test_a_coverage_that_chance_explains_is_no_doubt() -> None:
    assert trust(**GOOD | {"hits": hits(6), "coverage": {"80": 1.0}}).kind == "yes"


def test_without_a_backtest_nobody_knows() -> None:
    told = trust_of(recipe_of(), record_of(panel_of(monthly()), backtest=None))

    assert told.kind == "unknown"
    assert "too short for a backtest" in told.answer


def test_without_a_skill_nobody_can_tell() -> None:
    assert trust(**GOOD | {"skill": None}).kind == "unknown"


def test_the_band_of_chance_is_where_nineteen_of_twenty_counts_fall() -> None:
    low, high = chance_of(np.array([0.1, 0.8]), 50)

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


def test_the_card_tells_what_where_from_how_good_and_how_to_use_it() -> None:
    record = with_details(panel_of(monthly())).model_copy(
        update={"began": "1962-01-01T00:00:00.000000", "num_observations": 48}
    )

    told = card(record, "promoted: better at 12 origins", publish={"minimum": 0})

    for fact in (
        "# milk: Monthly milk production",
        "**Can I trust it?** With care.",
        "forecasts the next 3 periods (frequency MS) in pounds per cow",
        "data: 1 series, 1962-01-01 to 1965-12-01, 48 observations",
        "training: retrain, because: 12 new periods",
        "gate: promoted: better at 12 origins",
        "| this model | 11.33 | 8.451 | 0.7123 | 1.456 |",
        "| seasonal-naive (the baseline) | 14.2 | 12.01 | \N{EN DASH} | 1.998 |",
        "Coverage before the intervals are calibrated: 83% in the 80 % interval, 100% in the 95 % interval, of 6 observations.",
        "3 origins, 2 of them without a period in common",
        "at least 0",
        "from latest_forecasts where recipe = 'milk'",
        HASH,
        "0.1.0+abc",
        "d1a",
    ):
        assert fact in told


def test_a_card_without_a_backtest_says_so() -> None:
    told = card(record_of(panel_of(monthly()), backtest=None))

    assert "None: the history is too short for one." in told


def test_text_from_outside_stays_text_in_the_card() -> None:
    told = card(record_of(panel_of(monthly())), description="[click](x)\n# <b>big</b>")

    assert told.splitlines()[0] == r"# milk: \[click\](x) \# \<b\>big\</b\>"
