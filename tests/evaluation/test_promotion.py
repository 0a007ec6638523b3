"""The gate: a gain by a paired test on what neither model has seen, and nothing worse than the baseline."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import signal

from pipeline.config.recipe import FEWEST_PERIODS
from pipeline.evaluation.promotion import (
    SIGNIFICANCE_LEVEL,
    ErrorComparison,
    decide_promotion,
    diebold_mariano_p_value,
    is_significantly_worse,
)

Array = npt.NDArray[np.float64]


def contest(challenger: Array, champion: Array | None, baseline: float = 9.0) -> ErrorComparison:
    return ErrorComparison(
        challenger=challenger, champion=champion, baseline=np.full_like(challenger, baseline), num_series=1
    )


def verdict_of(challenger: Array, champion: Array | None, baseline: float = 9.0, replaced: str | None = None) -> str:
    found = decide_promotion(contest(challenger, champion, baseline), baseline="seasonal-naive", replaced=replaced)
    return f"{found.outcome}: {found.reason}"


def dependent(rng: np.random.Generator, shape: tuple[int, ...], correlation: float) -> Array:
    """Noise whose neighbours hang together, as the errors of overlapping forecasts do."""
    noise = rng.normal(size=(*shape[:-1], shape[-1] + 50))
    return np.asarray(signal.lfilter([1.0], [1.0, -correlation], noise))[..., 50:]


def test_a_clear_gain_is_promoted_with_its_figures() -> None:
    rng = np.random.default_rng(0)
    champion = 1 + 0.05 * rng.normal(size=12)

    assert verdict_of(champion - 0.3, champion).startswith("promoted: MASE 0.701")
    assert "against the champion's 1.001 over 12 periods (p = 0.000)" in verdict_of(champion - 0.3, champion)


def test_the_same_forecasts_are_no_gain() -> None:
    losses = np.random.default_rng(0).gamma(2, size=12)

    assert verdict_of(losses, losses).startswith("not promoted: ")
    assert "no gain of 1% at the level of 5%" in verdict_of(losses, losses)


def test_a_gain_too_small_to_matter_is_not_promoted_however_sure() -> None:
    champion = np.ones(48)

    assert verdict_of(champion - 0.009, champion).startswith("not promoted")
    assert verdict_of(champion - 0.011, champion).startswith("promoted")


def test_what_is_worse_than_the_baseline_is_not_promoted_however_much_better_than_the_champion() -> None:
    found = verdict_of(np.full(12, 1.1), np.full(12, 3.0), baseline=1.0)

    assert found == "not promoted: worse than seasonal-naive: MASE 1.100 against 1.000"


@pytest.mark.parametrize("num_periods", range(FEWEST_PERIODS))
def test_too_few_unseen_periods_decide_nothing(num_periods: int) -> None:
    found = verdict_of(np.full(num_periods, 0.1), np.full(num_periods, 1.0))

    assert found.startswith(f"not promoted: {num_periods} period")
    assert found.endswith("that neither it nor the champion has seen, 6 needed")


def test_without_a_champion_or_beside_one_that_cannot_be_compared_it_publishes() -> None:
    assert verdict_of(np.full(12, 5.0), None, baseline=1.0, replaced="the first model") == "promoted: the first model"
    assert decide_promotion(None, baseline="naive", replaced="the first model").outcome == "promoted"
    assert decide_promotion(None, baseline="naive", replaced=None).outcome == "not promoted"


def test_losses_without_a_scale_decide_nothing() -> None:
    assert verdict_of(np.full(12, np.nan), np.ones(12)) == (
        "not promoted: its errors cannot be scaled: no series has a season that changes"
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_the_diebold_mariano_test_is_one_sided(sign: int) -> None:
    gains = sign * (1 + 0.1 * np.random.default_rng(0).normal(size=24))

    assert (diebold_mariano_p_value(gains) < SIGNIFICANCE_LEVEL) == (sign > 0)
    assert diebold_mariano_p_value(0.1 + np.tile([1.0, -1.0], 12)) > 0.2  # no slow wave in it, and no steady gain
    assert diebold_mariano_p_value(np.zeros(24)) == 1
    assert diebold_mariano_p_value(np.full(24, float(sign))) == (0 if sign > 0 else 1)


@pytest.mark.parametrize("num_periods", [6, 12, 18, 48])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_noise_passes_no_more_often_than_the_level(num_periods: int, correlation: float) -> None:
    rng = np.random.default_rng(num_periods)

    chance = diebold_mariano_p_value(dependent(rng, (4000, num_periods), correlation))

    # few periods that hang together cost some of it
    allowed = {0.0: SIGNIFICANCE_LEVEL / 2, 0.5: 1.5 * SIGNIFICANCE_LEVEL, 0.8: 3 * SIGNIFICANCE_LEVEL}[correlation]
    assert float(np.mean(chance < SIGNIFICANCE_LEVEL)) < allowed + 0.01


def test_a_plain_t_test_would_pass_noise_that_hangs_together_far_more_often() -> None:
    noise = dependent(np.random.default_rng(0), (4000, 12), 0.8)

    plain = noise.mean(axis=1) / (noise.std(axis=1, ddof=1) / np.sqrt(12)) > 1.796

    assert plain.mean() > 0.2


@pytest.mark.parametrize("num_periods", [6, 12, 24])
def test_a_loss_of_one_standard_error_almost_never_passes_and_a_gain_of_four_mostly_does(num_periods: int) -> None:
    noise = np.random.default_rng(num_periods).normal(size=(10_000, num_periods))
    error = 1 / np.sqrt(num_periods)

    assert np.mean(diebold_mariano_p_value(noise - error) < SIGNIFICANCE_LEVEL) < 0.003
    assert (
        np.mean(diebold_mariano_p_value(noise + 4 * error) < SIGNIFICANCE_LEVEL)
        > {6: 0.4, 12: 0.75, 24: 0.85}[num_periods]
    )


def test_rows_are_tested_one_by_one() -> None:
    rows = dependent(np.random.default_rng(1), (5, 12), 0.3) + np.arange(5)[:, None]

    together = diebold_mariano_p_value(rows)

    np.testing.assert_allclose(together, [diebold_mariano_p_value(row) for row in rows])


def test_an_equally_good_challenger_is_promoted_no_more_often_than_the_level() -> None:
    """The same errors but for what another seed does: a share common to all periods, and noise that hangs together."""
    promoted = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        common = np.abs(dependent(rng, (12,), 0.5)) + 0.5
        one, other = (common * (1 + 0.01 * rng.normal() + 0.1 * dependent(rng, (12,), 0.5)) for _ in range(2))
        promoted += verdict_of(one, other).startswith("promoted")

    assert promoted <= SIGNIFICANCE_LEVEL * 200


def test_an_overfitted_challenger_is_never_promoted() -> None:
    """Polynomials of degree 9 have less loss than lines on what they are fitted on, and more on what follows."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x = np.linspace(-1, 1, 24)
        y = x + 0.5 * rng.normal(size=24)
        losses, training = {}, {}
        for degree in (1, 9):
            fitted = np.polynomial.Polynomial.fit(x[:12], y[:12], degree)
            training[degree] = np.square(y[:12] - fitted(x[:12])).mean()
            losses[degree] = np.abs(y[12:] - fitted(x[12:]))

        assert training[9] < training[1]
        assert verdict_of(losses[9], losses[1], baseline=1e9).startswith("not promoted")


def test_series_worse_than_the_baseline_are_found() -> None:
    rng = np.random.default_rng(0)
    baseline = np.abs(rng.normal(size=(3, 12))) + 1
    loss = np.stack([baseline[0] * 0.9, baseline[1] * 1.5, np.full(12, np.nan)])

    assert is_significantly_worse(loss, baseline).tolist() == [False, True, False]
    assert is_significantly_worse(loss[:, :5], baseline[:, :5]).tolist() == [False] * 3


def test_of_series_that_are_forecast_as_well_few_are_found() -> None:
    rng = np.random.default_rng(0)
    one, other = (np.abs(dependent(rng, (2000, 12), 0.5)) for _ in range(2))

    assert is_significantly_worse(one, other).mean() < SIGNIFICANCE_LEVEL + 0.02
