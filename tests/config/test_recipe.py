"""Recipes: what they say by default, what is refused and in which words, and when their hash changes."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.config.loader import load_recipe, names_with_tutorial, parse_recipe, recipe_names, validate_recipe
from pipeline.config.recipe import Recipe
from pipeline.config.sources import FrameSource, IntegersSource
from pipeline.errors import InvalidRecipe

SMALLEST = """
name = "toy"
frequency = "MS"
horizon = 2

[source]
kind = "integers"
"""

TUTORIAL = """
[tutorial]
row = "T0"
train = 0.75
context = 10
architecture = "vanilla"
units = 4
epochs = 1
batch_size = 8
"""


def recipe_of(text: str) -> Recipe:
    return parse_recipe(text, where="toy.toml", folder=Path("/recipes"))


def with_key(line: str) -> str:
    """The smallest recipe with one more key at its top."""
    return f"{line}\n{SMALLEST}"


def changed(old: str, new: str) -> str:
    assert old in SMALLEST
    return SMALLEST.replace(old, new)


def refusal(text: str) -> str:
    with pytest.raises(InvalidRecipe) as refused:
        recipe_of(text)
    return str(refused.value)


def test_the_smallest_recipe_says_name_frequency_horizon_and_source() -> None:
    recipe = recipe_of(SMALLEST)

    assert (recipe.name, recipe.frequency, recipe.horizon) == ("toy", "MS", 2)
    assert recipe.source == IntegersSource(kind="integers", count=100, seed=0, start="2000-01-01")
    assert recipe.folder == Path("/recipes")
    assert recipe.tutorial is None


@pytest.mark.parametrize(
    ("frequency", "season"), [("MS", 12), ("W-SUN", 52), ("D", 7), ("B", 5), ("h", 24), ("2MS", 6)]
)
def test_the_season_is_the_usual_one_of_the_frequency(frequency: str, season: int) -> None:
    assert recipe_of(changed('"MS"', f'"{frequency}"')).season == season


def test_sessions_have_weeks_of_five() -> None:
    assert recipe_of(changed('"MS"', '"D"\ncalendar = "XNYS"')).season == 5


def test_a_recipe_may_say_its_season() -> None:
    assert recipe_of(with_key("season_length = 6")).season == 6


def test_the_context_is_two_seasons_and_at_least_eight_unless_said() -> None:
    vanilla = "[model]\narchitecture = 'vanilla'\n"
    assert recipe_of(SMALLEST + vanilla).context == 24
    assert recipe_of(with_key("season_length = 2") + vanilla).context == 8
    assert recipe_of(SMALLEST + "[model]\narchitecture = 'vanilla'\ncontext = 13").context == 13


def test_the_test_part_is_one_horizon_unless_said() -> None:
    assert recipe_of(SMALLEST).test_periods == 6
    assert recipe_of(SMALLEST + "[backtest]\nperiods = 7").test_periods == 7


def test_spaces_around_the_frequency_do_not_count() -> None:
    assert recipe_of(changed('"MS"', '" MS "')).fingerprint == recipe_of(SMALLEST).fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            with_key("colour = 1"),
            'toy.toml: unknown key "colour": expected one of backtest, calendar, covariates, description, frequency, '
            "gate, horizon, max_gap, model, name, publish, season_length, source, training, tutorial, unit",
        ),
        (
            SMALLEST + "colour = 1",
            'toy.toml: unknown key "source.colour": expected one of allow_zero, columns, count, duplicates, extra_columns, '
            "fold, hint, kind, known_at, label, layout, limit, max_rejected, max_revised, maximum, minimum, missing, nonexistent, on_empty, operation, period, "
            "period_format, publication_lag, rolling, seed, series, start, strict, value, vintage, zone",
        ),
        (
            changed('"integers"', '"csv"\npath = "a.csv"\nperiod = "p"\nvalue = "v"\ncolour = 1'),
            'toy.toml: unknown key "source.colour": expected one of allow_zero, columns, decimal, delimiter, '
            "duplicates, encoding, extra_columns, final_newline, fold, hint, kind, known_at, label, layout, limit, max_gib, max_rejected, "
            "max_revised, maximum, minimum, missing, nonexistent, on_empty, operation, path, period, period_format, publication_lag, rolling, series, "
            "skip_footer, skip_rows, start, strict, thousands, value, vintage, zone",
        ),
        (
            SMALLEST + "[model]\ncolour = 1",
            'toy.toml: unknown key "model.colour": expected one of activation, architecture, context, '
            "dropout, layers, pretrained, recurrent_dropout, scaled_by, scaling, units",
        ),
        (
            SMALLEST + "[publish]\ncolour = 1",
            'toy.toml: unknown key "publish.colour": expected one of active_within, grace, inactive, max_ended, maximum, minimum',
        ),
    ],
    ids=["top level", "[source] integers", "[source] csv", "[model]", "[publish]"],
)
def test_an_unknown_key_is_refused_with_the_known_ones(text: str, message: str) -> None:
    assert refusal(text) == message


def test_an_unknown_key_of_a_tutorial_is_refused_with_the_known_ones() -> None:
    message = refusal(SMALLEST + TUTORIAL + "colour = 1")

    assert message.startswith('toy.toml: unknown key "tutorial.colour": expected one of activation, architecture,')
    assert "reach_back" in message


def test_variants_of_a_tutorial_name_one_architecture_or_several() -> None:
    recipe = recipe_of(SMALLEST + TUTORIAL + 'variants = { T1b = "bidirectional", T3v = ["vanilla", "stacked"] }')

    assert recipe.tutorial is not None
    assert recipe.tutorial.variants == {"T1b": ("bidirectional",), "T3v": ("vanilla", "stacked")}
    assert Recipe.model_validate(recipe.model_dump(mode="json")).tutorial == recipe.tutorial


def test_variants_change_no_fingerprint() -> None:
    plain = recipe_of(SMALLEST + TUTORIAL)
    varied = recipe_of(SMALLEST + TUTORIAL + 'variants = { T1b = "bidirectional" }')

    assert varied.fingerprint == plain.fingerprint
    assert varied.tutorial_fingerprint == plain.tutorial_fingerprint
    assert varied.training_fingerprint == plain.training_fingerprint


def test_the_recipes_with_a_tutorial_are_known_beside_others(tmp_path: Path) -> None:
    for name, text in (("b", SMALLEST + TUTORIAL), ("a", SMALLEST + TUTORIAL), ("c", SMALLEST), ("d", "no recipe")):
        (tmp_path / f"{name}.toml").write_text(text)

    assert names_with_tutorial(tmp_path) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (changed("horizon = 2", ""), "horizon"),
        (changed('name = "toy"', ""), "name"),
        (changed('frequency = "MS"', ""), "frequency"),
        (changed('[source]\nkind = "integers"', ""), "source"),
        (changed('"integers"', '"csv"'), "source.period"),
        (SMALLEST + TUTORIAL.replace("units = 4", ""), "tutorial.units"),
    ],
)
def test_a_missing_key_is_named(text: str, key: str) -> None:
    assert f'the key "{key}" is missing' in refusal(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed("horizon = 2", "horizon = 0"), '"horizon": Input should be greater than 0, received 0'),
        (changed("horizon = 2", "horizon = -1"), '"horizon": Input should be greater than 0, received -1'),
        (
            changed("horizon = 2", 'horizon = "two"'),
            "\"horizon\": Input should be a valid integer.*received 'two'",
        ),
        (changed('"toy"', '"My toy"'), "\"name\": String should match pattern.*received 'My toy'"),
        (
            changed('"integers"', '"web"'),
            "source.kind is 'web': expected one of csv, excel, http, integers, parquet, prices, sql",
        ),
        (
            SMALLEST + '[model]\narchitecture = "gru"',
            '"model.architecture": expected one of global, vanilla, .*received .gru.',
        ),
        (
            SMALLEST + TUTORIAL + 'variants = { T1b = "gru" }',
            '"tutorial.variants.T1b.0": expected one of global, vanilla, .*received .gru.',
        ),
        (SMALLEST + TUTORIAL + "variants = { T1b = [] }", '"tutorial.variants.T1b": Tuple should have at least 1 item'),
        (SMALLEST + TUTORIAL + "variants = { T1b = 3 }", '"tutorial.variants.T1b": Input should be a valid tuple'),
        (SMALLEST + TUTORIAL + 'variants = "T1b"', '"tutorial.variants": Input should be a valid dictionary'),
        (SMALLEST + "[model]\ndropout = 1.0", '"model.dropout": Input should be less than 1, received 1.0'),
        (
            SMALLEST + "[training]\nlearning_rate = nan",
            '"training.learning_rate": .*finite number, received nan',
        ),
        (with_key("model = 3"), '"model": .*received 3'),
        (changed('"MS"', '"XX"'), 'frequency "XX" is not known: expected a pandas offset alias'),
        (
            with_key('calendar = "XNYC"'),
            'calendar "XNYC" is not known: expected an exchange code such as .*XNYS',
        ),
        ("horizon = ", "toy.toml is not valid TOML: "),
        (SMALLEST + '[source]\nkind = "integers"', "toy.toml is not valid TOML: "),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(InvalidRecipe, match=message):
        recipe_of(text)


def test_seasonal_scaling_needs_a_context_longer_than_a_season() -> None:
    assert "model.context is 12, but scaling" in refusal(SMALLEST + "[model]\narchitecture = 'vanilla'\ncontext = 12")
    assert recipe_of(SMALLEST + "[model]\narchitecture = 'vanilla'\ncontext = 13").context == 13
    assert recipe_of(SMALLEST + '[model]\narchitecture = "vanilla"\ncontext = 12\nscaling = "last"').context == 12


def test_a_recipe_is_found_by_name_or_by_path(tmp_path: Path) -> None:
    (tmp_path / "toy.toml").write_text(SMALLEST)

    assert load_recipe("toy", tmp_path).fingerprint == recipe_of(SMALLEST).fingerprint
    assert load_recipe(str(tmp_path / "toy.toml"), Path("/nowhere")).folder == tmp_path


def test_an_unknown_recipe_lists_the_known_ones(tmp_path: Path) -> None:
    for name in ("toy", "milk"):
        (tmp_path / f"{name}.toml").write_text(SMALLEST)

    assert recipe_names(tmp_path) == ["milk", "toy"]
    with pytest.raises(InvalidRecipe, match='recipe "silk" is not known: expected one of milk, toy '):
        load_recipe("silk", tmp_path)
    with pytest.raises(InvalidRecipe, match=r'recipe "silk.toml" is not known'):
        load_recipe("silk.toml", tmp_path)


def test_where_there_is_no_recipe_none_is_listed(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match="expected one of none"):
        load_recipe("toy", tmp_path)


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        recipe_of(SMALLEST).horizon = 3


@pytest.mark.parametrize(
    "text",
    [
        changed('"toy"', '"toy2"'),
        changed('"MS"', '"ME"'),
        changed("horizon = 2", "horizon = 3"),
        with_key('calendar = "XNYS"').replace('"MS"', '"B"'),
        with_key("season_length = 4"),
        with_key("max_gap = 1"),
        with_key('unit = "pounds"'),
        SMALLEST + "seed = 1",
        SMALLEST + "[model]\narchitecture = 'vanilla'\nunits = 65",
        SMALLEST + "[training]\nseed = 101",
        SMALLEST + '[training]\npolicy = "keep"',
        SMALLEST + "[backtest]\nperiods = 3",
        SMALLEST + '[gate]\nbaseline = "naive"',
        SMALLEST + "[publish]\nminimum = 0",
        SMALLEST + TUTORIAL,
    ],
)
def test_the_fingerprint_changes_with_what_decides_the_job(text: str) -> None:
    assert recipe_of(text).fingerprint != recipe_of(SMALLEST).fingerprint


def test_the_fingerprint_does_not_change_with_the_description_the_order_of_keys_or_a_default_said() -> None:
    fingerprint = recipe_of(SMALLEST).fingerprint

    assert recipe_of(with_key('description = "A toy"')).fingerprint == fingerprint
    assert (
        recipe_of(changed('name = "toy"\nfrequency = "MS"', 'frequency = "MS"\nname = "toy"')).fingerprint
        == fingerprint
    )
    assert recipe_of(SMALLEST + "count = 100").fingerprint == fingerprint
    assert parse_recipe(SMALLEST, where="elsewhere.toml", folder=Path("/elsewhere")).fingerprint == fingerprint


@pytest.mark.parametrize(
    "text",
    [
        changed('"MS"', '"ME"'),
        changed("horizon = 2", "horizon = 3"),
        with_key("season_length = 4"),
        with_key("max_gap = 1"),
        SMALLEST + "[model]\narchitecture = 'vanilla'\nunits = 65",
        SMALLEST + '[model]\narchitecture = "vanilla"\nscaling = "last"',
        SMALLEST + "[training]\nseed = 101",
        SMALLEST + "[training]\nseed = 1",
        SMALLEST + "[training]\nmembers = 2",
        SMALLEST + "[backtest]\nperiods = 3",
    ],
)
def test_the_fingerprint_of_the_training_changes_with_what_decides_the_model(text: str) -> None:
    assert recipe_of(text).training_fingerprint != recipe_of(SMALLEST).training_fingerprint


@pytest.mark.parametrize(
    "text",
    [
        with_key('description = "A toy"'),
        with_key('unit = "pounds"'),
        SMALLEST + '[training]\npolicy = "keep"',
        SMALLEST + "[training]\nretrain_after = 3",
        SMALLEST + "[training]\ntime_limit_minutes = 5",
        SMALLEST + "[training]\nmemory_limit_gib = 5",
        SMALLEST + '[gate]\nbaseline = "naive"',
        SMALLEST + "[publish]\nminimum = 0",
    ],
)
def test_the_fingerprint_of_the_training_does_not_change_with_when_or_what_is_published(text: str) -> None:
    assert recipe_of(text).training_fingerprint == recipe_of(SMALLEST).training_fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed("horizon = 2", "horizn = 2"), 'unknown key "horizn": expected one of .*horizon'),
        (SMALLEST + "[csv]\nx = 1", 'unknown key "csv": expected one of .*source'),
        (SMALLEST + "[model]\ncsv = 1", 'unknown key "model.csv": expected one of activation, architecture'),
        (changed('kind = "integers"', "count = 3"), 'the key "source.kind" is missing'),
        (changed('"MS"', '"XX"'), "^toy.toml: "),
        (changed("horizon = 2", "horizon = true"), '"horizon": .*received True'),
        (changed("horizon = 2", 'horizon = "3"'), "\"horizon\": .*received '3'"),
        (SMALLEST + "[publish]\nminimum = nan", '"publish.minimum": .*finite'),
        (SMALLEST + "[publish]\nminimum = 5\nmaximum = 1", "publish.minimum 5 is above publish.maximum 1"),
        (SMALLEST + "[training]\nlearning_rate = inf", '"training.learning_rate": .*finite'),
        (with_key('calendar = "XNYS"'), 'frequency is "MS", but the periods of calendar XNYS are days'),
        (
            SMALLEST + '[model]\narchitecture = "vanilla"\nscaling = "last"\ncontext = 1',
            "compares with 1 period before: expected more than 1",
        ),
        (SMALLEST + '[model]\narchitecture = "gated-cell"\nactivation = "relu"', "are written out with tanh"),
        (
            SMALLEST + '[model]\narchitecture = "gated-cell"\nrecurrent_dropout = 0.1',
            "model.recurrent_dropout is for the",
        ),
        (SMALLEST + '[model]\narchitecture = "attention"\ncontext = 1\nscaling = "min-max"', "expected at least 2"),
        (SMALLEST + "[training]\nclip_norm = 1.0\nclip_value = 4.0", "clip_norm and training.clip_value are both set"),
        (SMALLEST + TUTORIAL.replace('"vanilla"', '"global"'), 'tutorial.architecture is "global"'),
        (
            SMALLEST + TUTORIAL + 'variants = { T1b = "global" }',
            'tutorial.variants.T1b is "global", which is no tutorial',
        ),
        (
            SMALLEST + TUTORIAL + 'activation = "relu"\nvariants = { T2 = "gated-cell" }',
            'tutorial.activation is "relu", but the gates of "gated-cell" are written out with tanh',
        ),
        (SMALLEST + TUTORIAL.replace("0.75", "5"), "tutorial.train is 5: expected more than tutorial.context = 10"),
    ],
)
def test_what_contradicts_itself_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidRecipe, match=message):
        recipe_of(text)


def test_a_stored_recipe_that_contradicts_itself_still_parses() -> None:
    fields = {"name": "toy", "frequency": "MS", "horizon": 2, "source": {"kind": "integers"}}
    fields["publish"] = {"minimum": 5.0, "maximum": 1.0}

    assert Recipe.model_validate(fields).publish.minimum == 5
    with pytest.raises(InvalidRecipe, match=r"^toy: publish.minimum 5 is above publish.maximum 1$"):
        validate_recipe(fields, where="toy")


def test_a_recipe_file_cannot_name_a_data_frame() -> None:
    assert refusal(changed('"integers"', '"frame"')) == (
        "toy.toml: source.kind is 'frame': expected one of csv, excel, http, integers, parquet, prices, sql"
    )


def test_a_recipe_of_a_data_frame_is_stored_and_read_back() -> None:
    source = FrameSource(kind="frame", period="month", value="milk")
    recipe = validate_recipe({"name": "toy", "frequency": "MS", "horizon": 2, "source": source}, where="toy")

    stored = Recipe.model_validate(recipe.model_dump(mode="json"))

    assert stored == recipe
    assert stored.source == source
    assert stored.fingerprint == recipe.fingerprint


def test_a_recipe_of_a_data_frame_is_checked_like_one_in_a_file() -> None:
    fields = {"name": "toy", "frequency": "MS", "horizon": 0, "source": FrameSource(kind="frame")}

    with pytest.raises(InvalidRecipe, match=r'^frame: "horizon": Input should be greater than 0, received 0$'):
        validate_recipe(fields, where="frame")


def test_a_start_that_is_no_date_is_refused() -> None:
    source = '[source]\nkind = "csv"\npath = "x.csv"\nperiod = "n"\nvalue = "v"\nstart = "soon"'

    with pytest.raises(InvalidRecipe, match='source.start is "soon": expected a date'):
        recipe_of(SMALLEST.replace('[source]\nkind = "integers"', source))


def test_a_recipe_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('description = "Größe"'.encode("latin-1"))

    with pytest.raises(InvalidRecipe, match="latin.toml is not UTF-8"):
        load_recipe("latin", tmp_path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('period = "n"\nvalue = ""', '"source.value": .*at least 1 character'),
        ('period = "n"\nvalue = "n"', "name one column twice"),
        ('period = "n"\nvalue = "v"\nperiod_format = "%d/%d/%Y"', "expected a strptime format"),
        ('period = "n"\nvalue = "v"\nperiod_format = "%Q"', "expected a strptime format"),
        ('period = "n"\nvalue = "v"\nperiod_format = "%"', "expected a strptime format"),
    ],
)
def test_columns_and_formats_that_cannot_be_read_are_refused(keys: str, message: str) -> None:
    source = f'[source]\nkind = "csv"\npath = "x.csv"\n{keys}'

    with pytest.raises(InvalidRecipe, match=message):
        recipe_of(SMALLEST.replace('[source]\nkind = "integers"', source))
