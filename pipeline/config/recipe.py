"""The schema of a recipe: everything that decides one forecasting job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, SerializeAsAny, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipeline.config.architectures import ARCHITECTURES, GLOBAL, Architecture
from pipeline.config.sources import Source, Table, parse_source
from pipeline.config.tutorial import Tutorial
from pipeline.text import counted
from pipeline.timeseries.frequency import Frequency, earlier_season_length
from pipeline.timeseries.period_labels import PeriodLabels

#: the keys of [model] and of [training] that the global architecture leaves to the recipe
_GLOBAL_MODEL = {"architecture", "units", "pretrained"}
_GLOBAL_TRAINING = {
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
#: the keys of [training] that say when to train and within which limits: they do not change the model
_SCHEDULING = {
    "policy",
    "fine_tune_after",
    "retrain_after",
    "budget_minutes",
    "time_limit_minutes",
    "memory_limit_gib",
}
#: a challenger is compared with the champion over at least so many periods that neither has seen
FEWEST_PERIODS = 6
#: with more series, `other_series` is refused
MOST_OTHER_SERIES = 64
#: kinds of scaling that are by series if the recipe does not say
_SCALED_BY = {"standard": "series", "min-max": "series"}
#: the global network reads a longer season as one step
LONGEST_FRAMED_SEASON = 12

#: by table and key, what a stored definition means that was written before the key was added
_BEFORE_ADDED: dict[tuple[str, str], Any] = {
    # the last value was carried forward, and no reason was published
    ("covariates", "missing"): None,
    # series that had ended were forecast for ever
    ("publish", "inactive"): "keep",
    # no network was shipped with the package
    ("model", "pretrained"): False,
}

#: size of a layer where the recipe does not say
USUAL_UNITS = 64
#: the baseline is the best one on the backtest
AUTO_BASELINE: Final = "auto"
#: what it is before there is a backtest
USUAL_BASELINE = "seasonal-naive"

Optimizer = Literal["adam", "adamw", "nadam", "adamax", "rmsprop", "adagrad", "adadelta", "lion", "sgd"]
Schedule = Literal["constant", "cosine"]
ScalingKind = Literal["seasonal", "last", "mean", "standard", "min-max", "log"]
Cycle = Literal["month", "week", "weekday", "hour"]
Policy = Literal["auto", "retrain", "fine-tune", "keep"]
MissingCovariate = Literal["fallback", "error", "last"]


class ModelSettings(Table):
    """The network and what it sees."""

    architecture: Architecture = Field(GLOBAL, description=", ".join(ARCHITECTURES))
    context: int | None = Field(
        None, gt=0, description="past periods that the network sees; default: two seasons and at least 8"
    )
    units: int = Field(
        USUAL_UNITS, gt=0, description="size of each layer; a global network of another size starts from its seed"
    )
    pretrained: bool = Field(
        True, description="whether the global network may start from the network that ships with the package"
    )
    layers: int = Field(2, gt=0, description="layers of a stacked network")
    activation: Literal["tanh", "relu"] = Field("tanh", description="activation of the cell")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after each layer")
    recurrent_dropout: float = Field(0.0, ge=0, lt=1, description="dropout of the state between steps")
    scaling: ScalingKind = Field(
        "seasonal", description="seasonal, last, mean, standard, min-max or log (of values above 0)"
    )
    scaled_by: Literal["window", "series"] | None = Field(
        None,
        description="fit the scaling per window, or per series up to the cutoff; default: series for standard and min-max",
    )

    def contradictions(self) -> Iterator[str]:
        """Yield a message for each key that the architecture does not take."""
        if self.architecture == GLOBAL:
            yield from _keys_of_others("model", self, _GLOBAL_MODEL)
        if self.architecture == "gated-cell" and (self.activation != "tanh" or self.recurrent_dropout):
            key = "recurrent_dropout" if self.recurrent_dropout else "activation"
            yield f'model.{key} is for the other architectures: the gates of "gated-cell" are written out with tanh'
        if self.architecture == "attention" and self.context == 1:
            yield "model.context is 1, and attention chooses among the steps of it: expected at least 2"


class TrainingSettings(Table):
    """How the network is fitted, and when."""

    policy: Policy = Field("auto", description="auto, retrain, fine-tune or keep")
    fine_tune_after: int | None = Field(
        None, gt=0, description="new periods after which auto fine-tunes; default: as many as the backtest holds out"
    )
    retrain_after: int | None = Field(
        None, gt=0, description="new periods after which auto retrains from scratch; default: four times as many"
    )
    budget_minutes: float | None = Field(
        None, gt=0, description="upper bound for auto: it fine-tunes or skips when training would take longer"
    )
    epochs: int = Field(100, gt=0, description="maximum number of passes over the windows")
    patience: int = Field(
        10, gt=0, description="passes without improvement on the held-out windows before training stops"
    )
    batch_size: int = Field(32, gt=0, description="windows per step")
    optimizer: Optimizer = Field(
        "adam", description="adam, adamw, nadam, adamax, rmsprop, adagrad, adadelta, lion or sgd"
    )
    learning_rate: float = Field(0.001, gt=0, description="learning rate of the optimizer")
    schedule: Schedule = Field("constant", description="constant, or cosine: warm-up, then down to zero")
    loss: Literal["mse", "mae", "huber", "pinball"] | None = Field(
        None,
        description="mse, mae, huber or pinball (the network outputs the quantiles); default: pinball for global, mae for the others",
    )
    clip_norm: float | None = Field(1.0, gt=0, description="maximum global norm of the gradients")
    clip_value: float | None = Field(None, gt=0, description="maximum magnitude of each gradient")
    members: int | None = Field(
        None,
        gt=0,
        le=32,
        description="networks whose forecasts are averaged; default: 3 for global, 1 for the others; more than 3 start from their seeds",
    )
    seed: int = Field(0, ge=0, description="seed of initial weights, window order and dropout")
    time_limit_minutes: float = Field(60, gt=0, description="a longer training is stopped")
    memory_limit_gib: float = Field(16, gt=0, description="maximum address space of the training process")

    def contradictions(self) -> Iterator[str]:
        """Yield a message if gradients are clipped in two ways."""
        if {"clip_norm", "clip_value"} <= self.model_fields_set and self.clip_norm is not None:
            yield "training.clip_norm and training.clip_value are both set: expected one of them"


class BacktestSettings(Table):
    """The test part that no network has seen."""

    periods: int | None = Field(None, gt=0, description="last periods held out; default: the horizon, at least 6")


class GateSettings(Table):
    """What a model is measured against."""

    baseline: Literal["auto", "naive", "seasonal-naive", "drift"] = Field(
        AUTO_BASELINE,
        description="naive, seasonal-naive or drift; auto: the best of the three on the backtest itself",
    )


class PublishSettings(Table):
    """Bounds of what is published, and when it goes stale."""

    minimum: float | None = Field(None, description="published numbers are raised to this")
    maximum: float | None = Field(None, description="published numbers are lowered to this")
    inactive: Literal["drop", "keep"] = Field(
        "drop",
        description="series that have ended: drop (no rows; they are in the view inactive_series) or keep (a forecast for ever)",
    )
    active_within: int | None = Field(
        None,
        gt=0,
        description="a series has ended without a value in so many last periods; default: a season, the horizon and at least 6",
    )
    max_ended: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the series, of 4 or more, that may have ended since the last run; with more of them nothing is published",
    )
    grace: int = Field(1, ge=0, description="periods that a forecast may be late before it is stale")

    def contradictions(self) -> Iterator[str]:
        """Yield a message if no number lies within the bounds."""
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            yield f"publish.minimum {self.minimum:.15g} is above publish.maximum {self.maximum:.15g}"


class CovariateSettings(Table):
    """Columns of the source beside the values."""

    past: tuple[str, ...] = Field(
        (), strict=False, description="columns known up to the last observation, such as a price"
    )
    future: tuple[str, ...] = Field(
        (),
        strict=False,
        description="columns known ahead, such as an offer: the source has rows for future periods, with an empty value",
    )
    static: tuple[str, ...] = Field(
        (), strict=False, description="columns with one text per series, such as its region"
    )
    calendar: tuple[Cycle, ...] = Field(
        (), strict=False, description="month, week (of the year), weekday and hour, as sine and cosine"
    )
    other_series: bool = Field(
        False, description=f"each series reads all others, and its own name; at most {MOST_OTHER_SERIES} series"
    )
    holidays: str | None = Field(None, description="country whose public holidays are a covariate, such as NL or US")
    sessions: str | None = Field(None, description="exchange whose sessions are a covariate, such as XNYS")
    missing: MissingCovariate | None = Field(
        "fallback",
        description="where a covariate is not known ahead: fallback (the baseline from there on), error (nothing is published), or last (its last value is carried forward)",
    )

    @property
    def carries_forward(self) -> bool:
        """Whether networks go on reading the last value of a covariate where it is not known."""
        return self.missing in (None, "last")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the source that are covariates."""
        return (*self.past, *self.future, *self.static)

    @property
    def inputs(self) -> dict[str, Any]:
        """What networks read, without what happens where a covariate is not known."""
        return self.model_dump(exclude={"missing"})

    @property
    def are_used(self) -> bool:
        """Whether networks read anything beside the values."""
        return bool(self.names or self.calendar or self.other_series or self.holidays or self.sessions)

    @field_validator("holidays")
    @classmethod
    def _check_country(cls, value: str | None) -> str | None:
        if value is not None:
            import holidays

            if value not in holidays.list_supported_countries():
                raise PydanticCustomError("country", "expected the two letters of a country, such as NL or US")
        return value

    @field_validator("sessions")
    @classmethod
    def _check_exchange(cls, value: str | None) -> str | None:
        return value if value is None else Frequency("D", value).calendar


class Recipe(Table):
    """Everything that decides a forecasting job."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        description="never changes; names the MLflow experiment and the registered model",
    )
    description: str = Field("", description="one line that describes the recipe")
    frequency: str = Field(description="pandas offset alias: MS, W-MON, D, B, h, 15min …")
    calendar: str | None = Field(
        None,
        description="an exchange whose sessions are the periods, such as XNYS, or a country whose business days are, such as DE or DE-BY",
    )
    season_length: int | None = Field(
        None,
        gt=0,
        description="periods per season; default: by frequency, such as 12 for months, 7 for days, 96 for 15min",
    )
    horizon: int = Field(gt=0, description="periods to forecast")
    unit: str = Field("", description="unit of the values")
    max_gap: int = Field(
        0,
        ge=0,
        description="longest run of missing periods that is interpolated; if it is given, or the source is `strict`, a batch with a longer gap is put on hold",
    )
    source: Annotated[SerializeAsAny[Source], BeforeValidator(parse_source)]
    covariates: CovariateSettings = CovariateSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    backtest: BacktestSettings = BacktestSettings()
    gate: GateSettings = GateSettings()
    publish: PublishSettings = PublishSettings()
    tutorial: Tutorial | None = None

    _folder: Path = PrivateAttr(default=Path())

    def contradictions(self) -> Iterator[str]:
        """Yield a message for each contradiction between tables; each table looks for its own first."""
        if self.calendar and not self.grid.is_daily:
            yield f'frequency is "{self.frequency}", but the periods of calendar {self.calendar} are days: expected "B" or "D"'
        if self.source.label == "end" and not self.grid.is_within_day:
            yield (
                f'source.label = "end" is for periods within a day, but frequency is "{self.frequency}": longer ones are '
                'named by the frequency, such as "ME" or "W-SUN"'
            )
        yield from self._short_contexts()
        if self.model.architecture == GLOBAL:
            yield from _keys_of_others("training", self.training, _GLOBAL_TRAINING)
        if self.source.layout == "wide" and self.covariates.names:
            yield 'covariates are columns of a long table: expected source.layout = "long"'
        columns = {
            self.source.period,
            self.source.value,
            self.source.series,
            self.source.fold_column,
            self.source.known_at,
            self.source.operation,
        }
        if len(set(self.covariates.names) - columns) < len(self.covariates.names):
            yield "a covariate names a column that is something else already: expected different ones"

    def _short_contexts(self) -> Iterator[str]:
        scaling = self.model.scaling
        lag = self.season if scaling == "seasonal" else 1
        compares = self.model.architecture != GLOBAL and scaling in ("seasonal", "last", "log")
        if compares and self.context <= lag:
            yield (
                f'model.context is {self.context}, but scaling "{scaling}" compares with {counted(lag, "period")} before: '
                f"expected more than {lag}" + (', or scaling "last"' if lag > 1 else "")
            )

    @model_validator(mode="after")
    def _write_out_new_season(self) -> Recipe:
        """Write a season into the definition that earlier releases would not have taken: they took 1 for 1h or 15min.

        A stored definition without a season means the one that was taken then.
        """
        if self.season_length is None:
            season = self.grid.season_length
            if season != earlier_season_length(self.frequency, self.calendar):
                object.__setattr__(self, "season_length", season)
        return self

    @field_validator("calendar", "frequency")
    @classmethod
    def _strip_spaces(cls, value: str | None) -> str | None:
        return value.strip() if value else value

    @property
    def folder(self) -> Path:
        """The folder that the recipe was read from; paths in it are relative to this folder."""
        return self._folder

    def with_folder(self, folder: Path) -> Recipe:
        """Return a copy whose relative paths start in a folder."""
        copy = self.model_copy()
        copy._folder = folder
        return copy

    @property
    def grid(self) -> Frequency:
        """The spacing of the recipe's periods."""
        return Frequency(self.frequency, self.calendar)

    @property
    def labels(self) -> PeriodLabels:
        """How people read the recipe's periods."""
        return PeriodLabels(is_within_day=self.grid.is_within_day, zone=self.source.zone)

    @property
    def holds_gaps(self) -> bool:
        """Whether a gap longer than `max_gap` puts a batch on hold: where the recipe names it, or is strict."""
        return self.source.strict or "max_gap" in self.model_fields_set

    @property
    def season(self) -> int:
        """Steps per season (m)."""
        return self.season_length or self.grid.season_length

    def describe_periods(self) -> str:
        """Return what a period is, and the season: `15min: 15 minutes, season of 96`."""
        season = f"season of {self.season}" if self.season > 1 else "no season"
        return f"{self.frequency}: {self.grid.meaning}, {season}"

    @property
    def context(self) -> int:
        """Context length (L) in periods; for the global network the most that it may read."""
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
        """The loss: mse, mae, huber or pinball."""
        return self.training.loss or ("pinball" if self.model.architecture == GLOBAL else "mae")

    @property
    def least_history(self) -> int:
        """The shortest history of a series, in periods, that the smallest of the recipe's networks can be fitted on."""
        return self.horizon + _least_context(self.horizon, self)

    @property
    def active_within(self) -> int:
        """Last periods of a panel in one of which a series that goes on has a value."""
        return self.publish.active_within or max(self.season, self.horizon, FEWEST_PERIODS)

    @property
    def scale_window(self) -> int:
        """Periods before an origin over which the scale of errors is measured."""
        return scale_window(self.season)

    @property
    def num_members(self) -> int:
        """Number of networks whose forecasts are averaged."""
        return self.training.members or (3 if self.model.architecture == GLOBAL else 1)

    @property
    def test_periods(self) -> int:
        """Length of the backtest's test part in periods."""
        return self.backtest.periods or max(self.horizon, FEWEST_PERIODS)

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides the job: all but the description and a tutorial's variants."""
        return compute_fingerprint(self.model_dump(mode="json"))

    @property
    def tutorial_fingerprint(self) -> str | None:
        """Hash of the tutorial's protocol; None without a tutorial."""
        return _hash(self.tutorial.model_dump(mode="json", exclude={"variants"})) if self.tutorial else None

    @property
    def training_fingerprint(self) -> str:
        """Hash of all that decides the model: if it changes, the champion is outdated."""
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
            exclude={"covariates": {"missing"}},
        )
        if self.model.architecture != GLOBAL:  # the others start from their seed
            del fields["model"]["pretrained"]
        fields["training"] = self.training.model_dump(mode="json", exclude=_SCHEDULING)
        return _hash(fields)


def recipe_from_definition(definition: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a stored definition, which may lack keys that were added since.

    Such a key gets the value that describes what was done before it was added.

    Raises:
        pydantic.ValidationError: the definition is not one of a recipe.
    """
    fields = dict(definition)
    if fields.get("season_length") is None:
        alias, calendar = fields["frequency"], fields.get("calendar")
        season = earlier_season_length(alias, calendar)
        if season != Frequency(alias, calendar).season_length:
            fields["season_length"] = season
    for (table, key), value in _BEFORE_ADDED.items():
        if isinstance(fields.get(table), Mapping):
            fields[table] = {key: value, **fields[table]}
    return Recipe.model_validate(fields)


def _keys_of_others(name: str, table: Table, own: set[str]) -> Iterator[str]:
    """Yield a message for each key that is set and that the global architecture chooses itself."""
    for key in type(table).model_fields:
        if key in table.model_fields_set - own:
            yield (
                f'{name}.{key} is for the other architectures: "global" chooses it by the season, the horizon and '
                "the lengths of the series; leave it out"
            )


def _least_context(horizon: int, recipe: Recipe) -> int:
    """Periods before a target that the smallest of a recipe's networks needs, if it forecasts so many periods."""
    if recipe.model.architecture == GLOBAL:
        half_frame = max(horizon // 2, 2)  # of one horizon
        return half_frame if recipe.season == 1 else min(half_frame, 2 * recipe.season)
    return recipe.model.context or 2


def longest_horizon(num_periods: int, recipe: Recipe) -> int:
    """Return the longest horizon for which a recipe's network can be fitted on so many periods; 0: there is none."""
    horizons = range(min(num_periods, recipe.horizon), 0, -1)
    return next((horizon for horizon in horizons if horizon + _least_context(horizon, recipe) <= num_periods), 0)


def scale_window(season: int) -> int:
    """Return over how many periods before an origin the scale of errors is measured.

    It is bounded, so that the cost of a forecast does not grow with the length of the history.
    """
    return max(5 * season, 60)


def compute_fingerprint(definition: dict[str, Any]) -> str:
    """Return the fingerprint of a recipe's stored definition."""
    decides = {key: value for key, value in definition.items() if key != "description"}
    if decides.get("tutorial") is not None:
        decides["tutorial"] = {key: value for key, value in decides["tutorial"].items() if key != "variants"}
    return _hash(decides)


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
