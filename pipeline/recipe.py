"""A recipe: everything that decides one forecasting job, read from one TOML file."""

from __future__ import annotations

import hashlib
import json
import tomllib
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, PrivateAttr, SerializeAsAny, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from pipeline.architectures import ARCHITECTURES, Architecture
from pipeline.contract import Source, Table, parse_source, source_table
from pipeline.errors import InvalidRecipe, known
from pipeline.frequency import Frequency
from pipeline.protocol import Tutorial

#: the architecture that chooses its own inputs and how it is fitted
GLOBAL = "global"
#: what the recipe still says of its training
GLOBAL_TRAINING = {
    "policy",
    "fine_tune_after",
    "retrain_after",
    "budget_minutes",
    "loss",
    "members",
    "seed",
    "time_limit_minutes",
    "memory_limit_gib",
}
#: of [training], what says when and within which limits, and not what comes of it
_WHEN = {
    "policy",
    "fine_tune_after",
    "retrain_after",
    "budget_minutes",
    "time_limit_minutes",
    "memory_limit_gib",
}
#: periods that neither model has seen, without which nothing is judged
FEWEST_PERIODS = 6
#: more series are not read beside each other
MOST_OTHER_SERIES = 64
#: scaled by series where nothing else is said
_SCALED_BY = {"standard": "series", "min-max": "series"}
#: a longer season is folded into one step
LONGEST_FRAMED_SEASON = 12

Optimizer = Literal["adam", "adamw", "nadam", "adamax", "rmsprop", "adagrad", "adadelta", "lion", "sgd"]
Schedule = Literal["constant", "cosine"]
ScalingKind = Literal["seasonal", "last", "mean", "standard", "min-max", "log"]
Cycle = Literal["month", "week", "weekday", "hour"]
Policy = Literal["auto", "retrain", "fine-tune", "keep"]


class Model(Table):
    """The network and what it sees."""

    architecture: Architecture = Field(GLOBAL, description=", ".join(ARCHITECTURES))
    context: int | None = Field(
        None, gt=0, description="past periods that the network sees; default: two seasons and at least 8"
    )
    units: int = Field(64, gt=0, description="size of each layer")
    layers: int = Field(2, gt=0, description="layers of a stacked network")
    activation: Literal["tanh", "relu"] = Field("tanh", description="activation of the cell")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout behind each layer")
    recurrent_dropout: float = Field(0.0, ge=0, lt=1, description="dropout of what a step hands to the next")
    scaling: ScalingKind = Field(
        "seasonal", description="seasonal, last, mean, standard, min-max or log (of values above 0)"
    )
    scaled_by: Literal["window", "series"] | None = Field(
        None, description="window, or series up to the cutoff; default: series for standard and min-max"
    )


class Training(Table):
    """How the network is fitted, and when."""

    policy: Policy = Field("auto", description="auto, retrain, fine-tune or keep")
    fine_tune_after: int | None = Field(
        None, gt=0, description="new periods after which auto fine-tunes; default: as many as are held out"
    )
    retrain_after: int | None = Field(
        None, gt=0, description="periods after which auto fits from the seed again; default: four times as many"
    )
    budget_minutes: float | None = Field(
        None, gt=0, description="auto trains less where the last training says that it takes longer"
    )
    epochs: int = Field(100, gt=0, description="most passes over the windows")
    patience: int = Field(10, gt=0, description="passes without gain on the held-out windows before stopping")
    batch_size: int = Field(32, gt=0, description="windows a step")
    optimizer: Optimizer = Field(
        "adam", description="adam, adamw, nadam, adamax, rmsprop, adagrad, adadelta, lion or sgd"
    )
    learning_rate: float = Field(0.001, gt=0, description="of the optimizer")
    schedule: Schedule = Field("constant", description="constant, or cosine: warmed up and then down to zero")
    loss: Literal["mse", "mae", "huber", "pinball"] | None = Field(
        None,
        description="mse, mae, huber, or pinball: then the network gives the quantiles; default: pinball of the global one, else mae",
    )
    clip_norm: float | None = Field(1.0, gt=0, description="global norm that gradients are clipped to")
    clip_value: float | None = Field(None, gt=0, description="magnitude that each gradient is clipped to")
    members: int | None = Field(
        None, gt=0, le=32, description="networks whose forecasts are averaged; default: 1, of the global one 3"
    )
    seed: int = Field(0, ge=0, description="seed of weights, order and dropout")
    time_limit_minutes: float = Field(60, gt=0, description="a longer training is ended")
    memory_limit_gib: float = Field(16, gt=0, description="address space of the training process")


class Backtest(Table):
    """The test part that no network has seen."""

    periods: int | None = Field(None, gt=0, description="last periods held out; default: the horizon, at least 6")


class Gate(Table):
    """What a model is measured against."""

    baseline: Literal["naive", "seasonal-naive"] = Field("seasonal-naive", description="naive or seasonal-naive")


class Publish(Table):
    """Bounds of what is published, and when it goes stale."""

    minimum: float | None = Field(None, description="no published number is below")
    maximum: float | None = Field(None, description="no published number is above")
    grace: int = Field(1, ge=0, description="periods that a forecast may be late before it is stale")


class Covariates(Table):
    """Columns of the source beside the values."""

    past: tuple[str, ...] = Field((), strict=False, description="known up to now, such as a price")
    future: tuple[str, ...] = Field(
        (), strict=False, description="known ahead, such as a holiday: the source has rows ahead, with an empty value"
    )
    static: tuple[str, ...] = Field((), strict=False, description="one text for each series, such as its region")
    calendar: tuple[Cycle, ...] = Field(
        (), strict=False, description="month, week (of the year), weekday and hour, as sine and cosine"
    )
    other_series: bool = Field(
        False, description=f"each series reads the others too, and which it is; of at most {MOST_OTHER_SERIES} series"
    )
    holidays: str | None = Field(None, description="country or region whose holidays count, such as NL or US")
    sessions: str | None = Field(None, description="exchange whose sessions count, such as XNYS")

    @property
    def names(self) -> tuple[str, ...]:
        """All that are columns of the source."""
        return (*self.past, *self.future, *self.static)

    @property
    def are_read(self) -> bool:
        """Whether networks read anything beside the values."""
        return bool(self.names or self.calendar or self.other_series or self.holidays or self.sessions)

    @field_validator("holidays")
    @classmethod
    def _known_country(cls, value: str | None) -> str | None:
        if value is not None:
            import holidays

            if value not in holidays.list_supported_countries():
                raise PydanticCustomError("country", "expected the two letters of a country, such as NL or US")
        return value

    @field_validator("sessions")
    @classmethod
    def _known_exchange(cls, value: str | None) -> str | None:
        return value if value is None else Frequency("D", value).calendar


class Recipe(Table):
    """Everything that decides a forecasting job."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="stable for ever; names the MLflow experiment and model"
    )
    description: str = Field("", description="one line for people")
    frequency: str = Field(description="pandas offset alias: MS, W-SUN, D, B, h …")
    calendar: str | None = Field(None, description="an exchange whose sessions are the periods, such as XNYS")
    season_length: int | None = Field(None, gt=0, description="steps per season; default: usual for the frequency")
    horizon: int = Field(gt=0, description="periods to forecast")
    unit: str = Field("", description="unit of the values")
    max_gap: int = Field(
        0, ge=0, description="longest run of missing periods that is interpolated; a batch with a longer one is held"
    )
    source: Annotated[SerializeAsAny[Source], BeforeValidator(parse_source)]
    covariates: Covariates = Covariates()
    model: Model = Model()
    training: Training = Training()
    backtest: Backtest = Backtest()
    gate: Gate = Gate()
    publish: Publish = Publish()
    tutorial: Tutorial | None = None

    _folder: Path = PrivateAttr(default=Path())

    @field_validator("calendar", "frequency")
    @classmethod
    def _spelled(cls, value: str | None) -> str | None:
        return value.strip() if value else value

    @property
    def folder(self) -> Path:
        """Where the recipe was read from; paths in it are relative to this."""
        return self._folder

    @property
    def grid(self) -> Frequency:
        """The recipe's periods."""
        return Frequency(self.frequency, self.calendar)

    @property
    def season(self) -> int:
        """Steps per season (m)."""
        if self.season_length is not None:
            return self.season_length
        return 5 if self.calendar else self.grid.season_length

    @property
    def context(self) -> int:
        """Context length (L); of the global network the longest that it may read."""
        if self.model.architecture == GLOBAL:
            is_long = self.season > LONGEST_FRAMED_SEASON
            return 14 * self.season if is_long else 8 * max(self.season, self.horizon, 4)
        return self.model.context or max(2 * self.season, 8)

    @property
    def is_scaled_by_series(self) -> bool:
        """Whether scaling parameters are those of the series, fitted up to the cutoff."""
        return (self.model.scaled_by or _SCALED_BY.get(self.model.scaling)) == "series"

    @property
    def loss(self) -> str:
        """What the network is fitted by."""
        return self.training.loss or ("pinball" if self.model.architecture == GLOBAL else "mae")

    @property
    def least_history(self) -> int:
        """Observations without which a series cannot be fitted on."""
        if self.model.architecture == GLOBAL:
            return self.horizon + (7 * self.season if self.season > LONGEST_FRAMED_SEASON else 2)
        return self.horizon + self.context

    @property
    def num_members(self) -> int:
        """Networks whose forecasts are averaged."""
        return self.training.members or (3 if self.model.architecture == GLOBAL else 1)

    @property
    def test_periods(self) -> int:
        """Length of the backtest's test part: the horizon, or as many periods as judge a model."""
        return self.backtest.periods or max(self.horizon, FEWEST_PERIODS)

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides the job; the description and a tutorial's variants do not."""
        return fingerprint_of(self.model_dump(mode="json"))

    @property
    def tutorial_fingerprint(self) -> str | None:
        """Hash of the tutorial's protocol: its lines are made once for it."""
        return _hash(self.tutorial.model_dump(mode="json", exclude={"variants"})) if self.tutorial else None

    @property
    def training_fingerprint(self) -> str:
        """Hash of all that decides the model: a change of it makes the champion outdated."""
        fields = self.model_dump(
            mode="json",
            include={
                "name",
                "frequency",
                "calendar",
                "season_length",
                "horizon",
                "max_gap",
                "covariates",
                "model",
                "backtest",
            },
        )
        fields["training"] = self.training.model_dump(mode="json", exclude=_WHEN)
        return _hash(fields)


def parse_recipe(text: str, *, where: str, folder: Path) -> Recipe:
    """The recipe in `text`, a TOML document.

    Raises:
        InvalidRecipe: it is no TOML, or not a recipe; the message names the key and what was expected.
    """
    document: dict[str, Any] = {}
    try:
        document = tomllib.loads(text)
        recipe = Recipe.model_validate(document)
        _refuse_contradictions(recipe)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRecipe(f"{where} is not valid TOML: {error}") from None
    except ValidationError as error:
        raise InvalidRecipe(f"{where}: {_first_fault(error, document)}") from None
    except InvalidRecipe as error:
        raise InvalidRecipe(f"{where}: {error}") from None
    recipe._folder = folder
    return recipe


def _refuse_contradictions(recipe: Recipe) -> None:
    """What no key is wrong about alone."""
    if recipe.calendar and recipe.grid.alias not in ("B", "D"):
        raise InvalidRecipe(
            f'frequency is "{recipe.frequency}", but the sessions of {recipe.calendar} are days: expected "B" or "D"'
        )
    if {"clip_norm", "clip_value"} <= recipe.training.model_fields_set and recipe.training.clip_norm is not None:
        raise InvalidRecipe("training.clip_norm and training.clip_value are both set: expected one of them")
    lag = recipe.season if recipe.model.scaling == "seasonal" else 1
    if (
        recipe.model.architecture != GLOBAL
        and recipe.model.scaling in ("seasonal", "last", "log")
        and recipe.context <= lag
    ):
        raise InvalidRecipe(
            f'model.context is {recipe.context}, but scaling "{recipe.model.scaling}" compares with {lag} periods before: '
            f"expected more than {lag}" + (', or scaling "last"' if lag > 1 else "")
        )
    low, high = recipe.publish.minimum, recipe.publish.maximum
    if low is not None and high is not None and low > high:
        raise InvalidRecipe(f"publish.minimum {low:g} is above publish.maximum {high:g}")
    if recipe.model.architecture == GLOBAL:
        _refuse_what_global_chooses(recipe)
    if recipe.model.architecture == "gated-cell" and (
        recipe.model.activation != "tanh" or recipe.model.recurrent_dropout
    ):
        key = "recurrent_dropout" if recipe.model.recurrent_dropout else "activation"
        raise InvalidRecipe(
            f'model.{key} is for the other architectures: the gates of "gated-cell" are written out with tanh'
        )
    if recipe.model.architecture == "attention" and recipe.context < 2:
        raise InvalidRecipe("model.context is 1, and attention chooses among the steps of it: expected at least 2")
    if recipe.tutorial is not None:
        _refuse_untaught(recipe.tutorial)
    if recipe.source.layout == "wide" and recipe.covariates.names:
        raise InvalidRecipe('covariates are columns of a long table: expected source.layout = "long"')
    taken = {recipe.source.period, recipe.source.value, recipe.source.series, recipe.source.fold}
    if len(set(recipe.covariates.names) - taken) < len(recipe.covariates.names):
        raise InvalidRecipe("a covariate names a column that is something else already: expected different ones")


def _refuse_untaught(tutorial: Tutorial) -> None:
    if tutorial.architecture == GLOBAL:
        raise InvalidRecipe('tutorial.architecture is "global", which is no tutorial\'s: expected another one')
    for row, architectures in tutorial.variants.items():
        if GLOBAL in architectures:
            raise InvalidRecipe(f'tutorial.variants.{row} is "global", which is no tutorial\'s: expected another one')
    used = {tutorial.architecture, *chain(*tutorial.variants.values())}
    if "gated-cell" in used and tutorial.activation != "tanh":
        raise InvalidRecipe(
            f'tutorial.activation is "{tutorial.activation}", but the gates of "gated-cell" are written out with tanh'
        )
    if 1 <= tutorial.train <= tutorial.context:
        raise InvalidRecipe(
            f"tutorial.train is {tutorial.train:g}: expected more than tutorial.context = {tutorial.context}"
        )


def _refuse_what_global_chooses(recipe: Recipe) -> None:
    for name, table, own in (
        ("model", recipe.model, {"architecture", "units"}),
        ("training", recipe.training, GLOBAL_TRAINING),
    ):
        for key in type(table).model_fields:
            if key in table.model_fields_set - own:
                raise InvalidRecipe(
                    f'{name}.{key} is for the other architectures: "global" chooses it by the season, the horizon and '
                    "the lengths of the series; leave it out"
                )


def load_recipe(name_or_path: str, recipes: Path) -> Recipe:
    """The recipe of that name in the folder `recipes`, or in that TOML file.

    Raises:
        InvalidRecipe: there is none, or it is not valid.
    """
    path = Path(name_or_path) if name_or_path.endswith(".toml") else recipes / f"{name_or_path}.toml"
    if not path.is_file():
        raise InvalidRecipe(
            f'recipe "{name_or_path}" is not known: expected one of {known(recipe_names(recipes))} (in {recipes}), or a path to a TOML file'
        )
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRecipe(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    return parse_recipe(text, where=str(path), folder=path.parent)


def recipe_names(recipes: Path) -> list[str]:
    """The names of the recipes in a folder, sorted."""
    return sorted(path.stem for path in recipes.glob("*.toml"))


def names_with_tutorial(recipes: Path) -> list[str]:
    """Those of the recipes in a folder that are valid and have a `[tutorial]`, sorted."""
    names = []
    for name in recipe_names(recipes):
        with suppress(InvalidRecipe):
            if load_recipe(name, recipes).tutorial is not None:
                names.append(name)
    return names


def fingerprint_of(definition: dict[str, Any]) -> str:
    """Hash of what decides the job in a recipe's definition, as it was written down."""
    decides = {key: told for key, told in definition.items() if key != "description"}
    if decides.get("tutorial") is not None:
        decides["tutorial"] = {key: told for key, told in decides["tutorial"].items() if key != "variants"}
    return _hash(decides)


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


#: kinds of fault that are said in our own words
_OWN_WORDS = ("missing_kind", "unknown_kind", "contradiction")


def _first_fault(error: ValidationError, document: dict[str, Any]) -> str:
    """What is wrong first, in words: unknown keys list the known ones."""
    faults = error.errors()
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in _OWN_WORDS:
        return fault["msg"]
    if fault["type"] == "extra_forbidden":
        return f'unknown key "{key}": expected one of {known(_keys_beside(fault["loc"], document))}'
    if fault["type"] == "missing":
        return f'the key "{key}" is missing'
    received = "" if isinstance(fault["input"], dict) else f", received {fault['input']!r}"
    return f'"{key}": {fault["msg"]}{received}'


def _keys_beside(loc: tuple[int | str, ...], document: dict[str, Any]) -> list[str]:
    if len(loc) == 1:
        return list(Recipe.model_fields)
    table = source_table(document["source"]["kind"]) if loc[0] == "source" else _TABLES[str(loc[0])]
    return list(table.model_fields)


_TABLES: dict[str, type[BaseModel]] = {
    "covariates": Covariates,
    "model": Model,
    "training": Training,
    "backtest": Backtest,
    "gate": Gate,
    "publish": Publish,
    "tutorial": Tutorial,
}
