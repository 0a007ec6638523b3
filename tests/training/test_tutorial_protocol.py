"""The tutorials' protocols: the same windows as their own loops, and no leak once mended."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.config.tutorial import Tutorial
from pipeline.errors import ModelRefused, NotEnoughHistory
from pipeline.evaluation.metrics import rmse
from pipeline.training.tutorial_protocol import (
    build_contexts,
    fit_scaler,
    list_networks,
    remove_leak,
    require_tutorial_history,
    seasonal_naive_forecast,
    split_series,
)

Array = npt.NDArray[np.float64]

#: the windows of a part and the value after each
Pairs = tuple[list[list[float]], list[float]]

MILK = {"train": 156, "context": 12, "reach_back": True, "recursive": True, "scaled_on": "train"}
AIRLINE = {"train": 0.67, "context": 3, "lose_last": True}
AAPL = {"train": 0.8, "context": 60, "lose_last": True}
BITCOIN = {"train": 1018, "context": 7, "split": "windows", "scaling": "standard", "order": "newest-first"}
INTEGERS = {"train": 0.75, "context": 10, "rounding": "ceil", "reach_back": True}


def tutorial_of(**settings: Any) -> Tutorial:
    network = {"architecture": "vanilla", "units": 2, "epochs": 1, "batch_size": 64}
    return Tutorial.model_validate({"row": "T", **network, **settings})


def recipe_of(**settings: Any) -> Recipe:
    text = 'name = "toy"\nfrequency = "MS"\nseason_length = 4\nhorizon = 2\n[source]\nkind = "integers"'
    recipe = parse_recipe(text, where="toy.toml", folder=Path())
    return recipe.model_copy(update={"tutorial": tutorial_of(**settings)})


def walk(count: int) -> Array:
    return np.random.default_rng(count).normal(size=count).cumsum()


def milk_loops(d: list[float]) -> tuple[Pairs, Pairs]:
    """`TimeseriesGenerator(scaled_train, scaled_train, length=12)`; the test part is the last 12 months."""
    train = d[:156]
    inside = [train[i - 12 : i] for i in range(12, len(train))], [train[i] for i in range(12, len(train))]
    return inside, ([d[i - 12 : i] for i in range(156, len(d))], d[156:])


def create_dataset(d: list[float], look_back: int) -> Pairs:
    x, y = [], []
    for i in range(len(d) - look_back - 1):
        x.append(d[i : (i + look_back)])
        y.append(d[i + look_back])
    return x, y


def airline_loops(d: list[float]) -> tuple[Pairs, Pairs]:
    train_size = int(len(d) * 0.67)
    return create_dataset(d[0:train_size], 3), create_dataset(d[train_size : len(d)], 3)


def aapl_loops(d: list[float]) -> tuple[Pairs, Pairs]:
    training_size = int(len(d) * 0.8)
    return create_dataset(d[0:training_size], 60), create_dataset(d[training_size : len(d)], 60)


def bitcoin_loops(d: list[float]) -> tuple[Pairs, Pairs]:
    x, y = [], []
    i = 0
    while i + 7 <= len(d) - 1:
        x.append(d[i : i + 7])
        y.append(d[i + 7])
        i += 1
    return (x[:1018], y[:1018]), (x[1018:], y[1018:])


def integers_loops(d: list[float]) -> tuple[Pairs, Pairs]:
    length = math.ceil(len(d) * 0.75)
    train, test = d[0:length], d[length - 10 :]
    inside = [train[i - 10 : i] for i in range(10, len(train))], [train[i] for i in range(10, len(train))]
    return inside, ([test[i - 10 : i] for i in range(10, len(test))], d[length:])


@pytest.mark.parametrize(
    ("settings", "loops", "count", "num_train", "num_test"),
    [
        (MILK, milk_loops, 168, 144, 12),
        (AIRLINE, airline_loops, 144, 92, 44),
        (AAPL, aapl_loops, 2517, 1952, 443),
        (AAPL, aapl_loops, 1259, 946, 191),
        (BITCOIN, bitcoin_loops, 1273, 1018, 248),
        (INTEGERS, integers_loops, 100, 65, 25),
        (INTEGERS, integers_loops, 101, 66, 25),
    ],
    ids=["milk", "airline", "AAPL", "AAPL five years", "bitcoin", "integers", "integers rounded up"],
)
def test_the_windows_equal_the_loops_of_the_tutorial(
    settings: dict[str, Any], loops: Any, count: int, num_train: int, num_test: int
) -> None:
    values = walk(count)
    tutorial = tutorial_of(**settings)
    (train_x, train_y), (test_x, test_y) = loops(values.tolist())

    split = split_series(count, tutorial)

    np.testing.assert_array_equal(build_contexts(values, split.train, tutorial.context)[:, :, 0], train_x)
    np.testing.assert_array_equal(values[split.train], train_y)
    np.testing.assert_array_equal(build_contexts(values, split.test, tutorial.context)[:, :, 0], test_x)
    np.testing.assert_array_equal(values[split.test], test_y)
    assert (len(split.train), len(split.test)) == (num_train, num_test)


@pytest.mark.parametrize("settings", [MILK, AIRLINE, AAPL, BITCOIN, INTEGERS])
def test_nothing_is_both_trained_on_and_tested(settings: dict[str, Any]) -> None:
    split = split_series(1273, tutorial_of(**settings))

    assert split.train.max() < split.test.min()
    assert split.train.min() == settings["context"]


@pytest.mark.parametrize(("scaling", "oracle"), [("min-max", MinMaxScaler()), ("standard", StandardScaler())])
def test_the_scaler_agrees_with_scikit_learn_on_all_or_on_the_training_part(
    scaling: str, oracle: MinMaxScaler | StandardScaler
) -> None:
    values = walk(168)

    for scaled_on, seen in (("all", values), ("train", values[:156])):
        tutorial = tutorial_of(**{**MILK, "scaling": scaling, "scaled_on": scaled_on})
        centre, scale = fit_scaler(values, tutorial, until=156)
        expected = oracle.fit(seen[:, None]).transform(values[:, None])[:, 0]
        np.testing.assert_allclose((values - centre) / scale, expected)


@pytest.mark.parametrize("settings", [MILK, AIRLINE, AAPL, BITCOIN, INTEGERS])
@pytest.mark.parametrize("scaling", ["min-max", "standard"])
def test_a_changed_test_part_changes_no_scaler_of_a_mended_protocol(settings: dict[str, Any], scaling: str) -> None:
    mended = remove_leak(tutorial_of(**{**settings, "scaling": scaling}))
    values = walk(1273)
    test_from = split_series(1273, mended).test[0]
    another_future = np.concatenate([values[:test_from], np.full(1273 - test_from, 1e9)])

    fitted = fit_scaler(values, mended, until=test_from)

    assert fitted == fit_scaler(another_future, mended, until=test_from)
    assert (mended.scaled_on, mended.order) == ("train", "time")


def test_a_series_without_change_has_scale_one() -> None:
    assert fit_scaler(np.full(20, 5.0), tutorial_of(**INTEGERS), until=15) == (5, 1)


@pytest.mark.tensorflow
def test_a_recipe_without_a_tutorial_has_no_figures() -> None:
    from pipeline.training.tutorial import run_protocol

    assert run_protocol(walk(50), recipe_of(**INTEGERS).model_copy(update={"tutorial": None})) == ()


@pytest.mark.tensorflow
def test_the_newest_values_are_trained_on_as_written_and_the_oldest_once_mended() -> None:
    from pipeline.training.tutorial import run_protocol

    values = walk(60)
    settings = {**AIRLINE, "train": 45, "order": "newest-first"}

    lines = run_protocol(values, recipe_of(**settings))

    tested = np.arange(48, 59)
    assert [line.protocol for line in lines] == ["as written", "without the leak"]
    for line, taken in zip(lines, (values[::-1], values), strict=True):
        assert line.num_test == len(tested)
        assert line.naive == pytest.approx(rmse(taken[tested], taken[tested - 1]))
        assert line.seasonal_naive == pytest.approx(rmse(taken[tested], taken[tested - 4]))


@pytest.mark.tensorflow
def test_recursion_feeds_each_prediction_back_and_knows_nothing_of_the_test_part() -> None:
    import keras

    from pipeline.training.tutorial import run_protocol

    values = walk(161)
    recipe = recipe_of(**MILK)

    as_written, mended = run_protocol(values, recipe)

    centre, scale = values[:156].min(), np.ptp(values[:156])
    scaled = ((values - centre) / scale).tolist()
    (x, y), _ = milk_loops(scaled)
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((12, 1)), keras.layers.LSTM(2), keras.layers.Dense(1)])
    network.compile(optimizer="adam", loss="mse", jit_compile=False)
    order = np.random.default_rng(0).permutation(len(x))
    network.fit(np.array(x)[order, :, None], np.array(y)[order], epochs=1, batch_size=64, shuffle=False, verbose=0)
    batch, predictions = scaled[156 - 12 : 156], []
    for _ in range(5):
        predictions.append(float(network(np.array(batch, np.float32)[None, :, None])[0, 0]))
        batch = [*batch[1:], predictions[-1]]
    assert as_written.rmse == pytest.approx(rmse(values[156:], np.array(predictions) * scale + centre), rel=1e-5)
    assert as_written.naive == pytest.approx(rmse(values[156:], np.full(5, values[155])))
    assert as_written.seasonal_naive == pytest.approx(rmse(values[156:], values[[152, 153, 154, 155, 152]]))
    assert mended.rmse == as_written.rmse
    assert mended.protocol == "without the leak (it has none)"


def test_nothing_one_season_before_gives_no_seasonal_naive() -> None:
    values = np.arange(6.0)
    tutorial = tutorial_of(**INTEGERS)

    np.testing.assert_array_equal(seasonal_naive_forecast(values, np.array([4, 5]), 5, tutorial), [np.nan, 0])


def test_a_mended_scaler_sees_the_whole_training_part_and_nothing_after_it() -> None:
    split = split_series(144, remove_leak(tutorial_of(**AIRLINE)))

    assert split.fitting == 96


def test_a_variant_is_the_same_protocol_with_another_network() -> None:
    tutorial = tutorial_of(
        **AIRLINE, published=47.53, layers=2, variants={"Tv": ["stacked", "attention"], "Tb": ["cnn-lstm"]}
    )

    own, *others = list_networks(tutorial)

    assert own == tutorial.model_copy(update={"variants": {}})
    assert [(other.row, other.architecture, other.layers, other.published) for other in others] == [
        ("Tv", "stacked", 3, None),
        ("Tv", "attention", 1, None),
        ("Tb", "cnn-lstm", 1, None),
    ]
    same = {"row", "architecture", "layers", "published"}
    assert all(other.model_dump(exclude=same) == own.model_dump(exclude=same) for other in others)


@pytest.mark.parametrize("settings", [MILK, AIRLINE, AAPL, BITCOIN, INTEGERS])
def test_a_series_fits_from_the_length_on_that_leaves_something_to_test(settings: dict[str, Any]) -> None:
    tutorial = tutorial_of(**settings)
    least = next(
        n for n in range(2000) if len(split_series(n, tutorial).test) and (split_series(n, tutorial).train < n).any()
    )

    require_tutorial_history(walk(least), tutorial, "cow")
    with pytest.raises(NotEnoughHistory, match=f'series "cow" has {least - 1} values: .* expected some in both'):
        require_tutorial_history(walk(least - 1), tutorial, "cow")


def test_a_share_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(
        NotEnoughHistory, match="train 0.1, context 12.* leaves 0 to predict in its training part and 95"
    ):
        require_tutorial_history(walk(120), tutorial_of(train=0.1, context=12, lose_last=True), "cow")


def test_a_period_without_a_value_is_refused() -> None:
    values = walk(168)
    values[20] = np.nan

    with pytest.raises(NotEnoughHistory, match='series "cow" has no value for 1 period, .* raise max_gap'):
        require_tutorial_history(values, tutorial_of(**MILK), "cow")


@pytest.mark.tensorflow
def test_a_fit_that_does_not_stay_finite_is_refused_with_its_row() -> None:
    from pipeline.training.tutorial import run_protocol

    with pytest.raises(
        ModelRefused, match="the vanilla network of tutorial T did not stay finite: lower tutorial.learn"
    ):
        run_protocol(walk(60), recipe_of(**{**AIRLINE, "learning_rate": 1e38, "epochs": 20}))
