"""Intervals follow the errors of a series and of series like it: misfits in the panel do not move them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.forecasting.baselines import forecast_naive
from pipeline.forecasting.calibration import LARGEST_FACTOR, OUTER, Calibration, Outcomes, fit_calibration
from pipeline.forecasting.series_scale import INTERMITTENT, NO_GROUP, volatility_groups
from pipeline.timeseries.forecast import NORMAL_SCORES
from tests.support.panels import panel_of

Array = npt.NDArray[np.float64]

HORIZON, CLEAN, CALM, WILD = 6, 12, -4, -1
SHOPS = [f"shop {n}" for n in range(CLEAN)]
#: of a network whose intervals are right for noise of deviation 1
RATIO = np.where(NORMAL_SCORES == 0, np.nan, NORMAL_SCORES)


def errors_of(
    names: list[str],
    group: int,
    *,
    origins: int,
    size: float = 1.0,
    share: float = 1.0,
    one_sided: bool = False,
    seed: int,
) -> list[Outcomes]:
    """Outcomes of series whose errors have a deviation of `size` intervals, in a share of the periods, else 0."""
    rng = np.random.default_rng(seed)
    parts = []
    for name in names:
        noise = size * rng.normal(size=origins + 1) * (rng.random(origins + 1) < share)
        noise = np.abs(noise) if one_sided else noise
        pairs = [(o, h) for o in range(origins) for h in range(1, HORIZON + 1) if o + h <= origins]
        errors = np.array([noise[o + 1 : o + h + 1].sum() / np.sqrt(h) for o, h in pairs])
        parts.append(
            Outcomes(
                origin=np.array([o for o, _ in pairs]),
                step=np.array([h for _, h in pairs]),
                ratio=errors[:, None] / RATIO,
                series=np.full(len(pairs), name, object),
                group=np.full(len(pairs), group),
            )
        )
    return parts


def calibration_of(parts: list[Outcomes], prior: Calibration | None = None) -> Calibration:
    assert all(part.series is not None and part.group is not None for part in parts)
    outcomes = Outcomes(
        origin=np.concatenate([part.origin for part in parts]),
        step=np.concatenate([part.step for part in parts]),
        ratio=np.concatenate([part.ratio for part in parts]),
        series=np.concatenate([part.series for part in parts if part.series is not None]),
        group=np.concatenate([part.group for part in parts if part.group is not None]),
    )
    calibration = fit_calibration(outcomes, horizon=HORIZON, prior=prior)
    assert calibration is not None
    return calibration


def factors(calibration: Calibration, names: list[str], group: int = CALM) -> Array:
    return calibration.factors_of(names, np.full(len(names), group))[:, :, OUTER]


ODD = {
    "three": lambda group, origins: errors_of(named(3), group, origins=origins, size=8.0, seed=2),
    "three that grow": lambda group, origins: errors_of(
        named(3), group, origins=origins, size=5, one_sided=True, seed=2
    ),
    "one wildly volatile": lambda group, origins: errors_of(named(1), group, origins=origins, size=100.0, seed=2),
    "as many as the others": lambda group, origins: errors_of(named(CLEAN), group, origins=origins, size=6.0, seed=2),
    "of hardly any error": lambda group, origins: errors_of(named(5), group, origins=origins, size=0.01, seed=2),
}


def named(count: int) -> list[str]:
    return [f"odd {n}" for n in range(count)]


@pytest.mark.parametrize("origins", [6, 12, 50])
@pytest.mark.parametrize("group", [CALM, WILD], ids=["as volatile as the others", "more volatile"])
@pytest.mark.parametrize("kind", ODD)
def test_misfits_move_the_interval_of_a_clean_series_by_less_than_5_percent(
    kind: str, group: int, origins: int
) -> None:
    clean = errors_of(SHOPS, CALM, origins=origins, seed=1)

    alone, beside = calibration_of(clean), calibration_of([*clean, *ODD[kind](group, origins)])

    np.testing.assert_allclose(factors(beside, SHOPS), factors(alone, SHOPS), rtol=0.05)


@pytest.mark.parametrize("origins", [6, 50])
def test_a_misfit_gets_intervals_of_its_own(origins: int) -> None:
    clean = errors_of(SHOPS, CALM, origins=origins, seed=3)
    odd = errors_of(["odd"], CALM, origins=origins, size=6.0, seed=4)

    calibration = calibration_of([*clean, *odd])

    assert factors(calibration, ["odd"]).mean() > 3 * factors(calibration, SHOPS).mean()
    assert factors(calibration, ["odd"]).max() <= LARGEST_FACTOR


def test_a_series_without_outcomes_takes_the_factors_of_its_group_and_one_of_an_unknown_group_the_panels() -> None:
    calm = errors_of(SHOPS, CALM, origins=50, seed=5)
    wild = errors_of([f"wild {n}" for n in range(CLEAN)], WILD, origins=50, size=2.0, seed=6)

    calibration = calibration_of([*calm, *wild])

    known = factors(calibration, ["new", "new"], CALM), factors(calibration, ["new", "new"], WILD)
    assert known[0].mean() == pytest.approx(1.0, abs=0.15)
    assert known[1].mean() == pytest.approx(2.0, abs=0.3)
    np.testing.assert_array_equal(factors(calibration, ["new"], 3)[0], calibration.factors[:, OUTER])


@pytest.mark.parametrize("deviation", [0.0, 0.4])
def test_intervals_hold_for_series_that_differ_and_for_those_that_were_not_observed(deviation: float) -> None:
    rng = np.random.default_rng(7)
    sizes = np.tile(np.exp(deviation * rng.normal(size=40)), 2)
    parts = [
        part
        for n, size in enumerate(sizes.tolist())
        for part in errors_of([f"s{n}"], CALM, origins=50, size=size, seed=100 + n)
    ]
    calibration = calibration_of(parts[:40])

    inside = []
    for n, size in enumerate(sizes.tolist()):
        (fresh,) = errors_of([f"s{n}"], CALM, origins=300, size=size, seed=500 + n)
        by_step = factors(calibration, [f"s{n}"])[0][fresh.step - 1]
        outside = fresh.ratio[:, OUTER] > by_step
        inside.append([1 - outside[:, 1:3].any(axis=1).mean(), 1 - outside[:, [0, 3]].any(axis=1).mean()])
    known, new = 100 * np.mean(inside[:40], axis=0), 100 * np.mean(inside[40:], axis=0)

    assert known == pytest.approx([80, 95], abs=2.5)
    assert new == pytest.approx([80, 95], abs=3)


def test_outcomes_move_a_multiplier_from_where_the_backtest_left_it() -> None:
    table = {CALM: np.ones((HORIZON, 5))}
    prior = Calibration(factors=table[CALM], groups=table, typical=table, series={"shop 0": 3.0})
    clean = errors_of(SHOPS, CALM, origins=50, seed=8)

    first, last = calibration_of(clean[1:], prior), calibration_of(clean, prior)

    assert first.series["shop 0"] == 3.0
    assert last.series["shop 0"] < 1.5


def test_a_calibration_by_series_is_all_in_its_text() -> None:
    calibration = calibration_of([*errors_of(SHOPS, CALM, origins=12, seed=9), *ODD["three"](WILD, 12)])

    kept = Calibration.from_text(calibration.as_text())

    assert kept.series == calibration.series
    assert list(kept.groups) == [CALM, WILD]
    for group in kept.groups:
        np.testing.assert_array_equal(kept.groups[group], calibration.groups[group])


def test_a_calibration_of_an_earlier_release_is_that_of_the_panel() -> None:
    kept = Calibration.from_dict({"factors": [[3, 2, 1, 2, 3]], "num_outcomes": 7})

    np.testing.assert_array_equal(kept.factors_of(["a"], np.array([CALM])), [[[3, 2, 1, 2, 3]]])


def test_a_calibration_that_only_widens_has_no_factor_below_1() -> None:
    calibration = calibration_of([*errors_of(SHOPS, CALM, origins=50, size=0.3, seed=10), *ODD["three"](CALM, 50)])

    widening = calibration.only_widening()

    assert factors(calibration, SHOPS).min() < 0.5
    assert factors(widening, [*SHOPS, "new"]).min() >= 1


def test_a_calibration_that_is_hardly_trusted_is_near_1_and_one_that_is_fully_trusted_stays() -> None:
    calibration = calibration_of([*errors_of(SHOPS, CALM, origins=50, size=3.0, seed=10), *ODD["three"](CALM, 50)])
    names = [*SHOPS, "new"]

    half, whole, none = (factors(calibration.shrink(trust), names) for trust in (0.5, 1.0, 0.0))

    assert factors(calibration, names).max() > 2
    np.testing.assert_allclose(whole, factors(calibration, names), rtol=1e-3)
    np.testing.assert_allclose(half, factors(calibration, names) ** 0.5, rtol=1e-3)
    np.testing.assert_allclose(none, 1.0)


def test_zero_inflated_series_are_a_group_of_their_own_and_move_no_other() -> None:
    clean = errors_of(SHOPS, CALM, origins=12, seed=1)
    odd = errors_of(named(8), INTERMITTENT, origins=12, size=9.0, share=0.05, seed=2)

    alone, beside = calibration_of(clean), calibration_of([*clean, *odd])

    np.testing.assert_allclose(factors(beside, SHOPS), factors(alone, SHOPS), rtol=0.05)


def test_groups_are_by_change_relative_to_size_and_no_series_moves_another() -> None:
    rng = np.random.default_rng(11)
    rows = {
        "calm": (100 + rng.normal(0, 1, 48)).tolist(),
        "calm and small": (1e-3 * (100 + rng.normal(0, 1, 48))).tolist(),
        "wild": rng.exponential(1, 48).tolist(),
        "constant": [5.0] * 48,
        "zero": [0.0] * 48,
        "sometimes": (rng.exponential(1, 48) * (rng.random(48) < 0.5)).tolist(),
    }

    def groups(rows: dict[str, list[float]]) -> list[int]:
        panel = panel_of(rows)
        found: list[int] = volatility_groups(panel, forecast_naive(panel, 1, 12).scale, 12).tolist()
        return found

    assert groups(rows)[0] == groups(rows)[1] < groups(rows)[2]
    assert groups(rows)[3:] == [NO_GROUP, NO_GROUP, INTERMITTENT]
    assert groups(rows)[0] == groups({"calm": rows["calm"]})[0]
