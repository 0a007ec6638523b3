"""The schema of a recipe's `[source]`: where the rows come from and what is expected of them, one class a kind.

Another package adds a kind through the entry point group `nextperiod.sources`: an object with
`table`, a subclass of `Source`, and `fetch`, as in `pipeline.sources.registry`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from pipeline.text import list_names

ENTRY_POINTS = "nextperiod.sources"

#: where the recipe names no share, so much of a delivery may be rejected, and of a small one so many rows
MAX_REJECTED = 0.05
MAX_REJECTED_ROWS = 2

#: what `period_format` can name beside strptime formats
PERIOD_STYLES = (
    *("quarter", "iso-week", "iso-week-date", "year", "interval", "excel"),
    *("epoch-s", "epoch-ms", "epoch-us", "epoch-ns"),
)

#: keys that say where the rows come from and when they are refused, not what they mean
_NOT_MEANING = {
    *("hint", "strict", "max_rejected", "max_revised", "rolling", "on_empty"),
    *("path", "url", "base_url", "hosts", "headers", "since"),
    *("max_gib", "timeout_seconds", "final_newline"),
}


#: encodings of host names and of escapes
_NO_TEXT = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "unicode-escape", "raw-unicode-escape", "utf-7")

#: keys that say how a table is written as text
_OF_CSV = ("delimiter", "decimal", "thousands", "encoding", "skip_rows", "skip_footer")

_DURATION = re.compile(
    r"P(?:(\d{1,3})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,8})S)?)?"
)

#: context for the validation of a recipe that somebody writes now. Definitions that an earlier release stored are read
#: without it: the earlier release accepted them, so they must still parse after checks were added.
NEW_RECIPE = {"is_new": True}


class Table(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def contradictions(self) -> Iterator[str]:
        """Yield a message for each pair of keys that contradict each other, although each alone is valid."""
        return iter(())

    @model_validator(mode="after")
    def _refuse_contradictions(self, info: ValidationInfo) -> Self:
        message = next(self.contradictions(), None) if _is_new(info) else None
        if message is not None:
            raise _contradiction(message)
        return self


class Source(Table):
    """What is expected of the rows of every kind of source."""

    kind: str
    period: str = Field(min_length=1, description="column of the periods")
    value: str | None = Field(None, min_length=1, description="column of the values, in a long table")
    series: str | None = Field(
        None, min_length=1, description="column of the series' names; none: one series, named like the recipe"
    )
    layout: Literal["long", "wide"] = Field(
        "long", description="long: a row is one value; wide: each column beside the period is a series"
    )
    columns: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        None, strict=False, description="the columns of a wide table that are series; default: all others"
    )
    period_format: str | None = Field(
        None,
        description="strptime format of the periods, or quarter, iso-week, iso-week-date, year, interval, epoch-s, epoch-ms, epoch-us, epoch-ns or excel; none: as the whole column shows it, if that is certain",
    )
    zone: str | None = Field(
        None, description="zone of local times, such as Europe/Amsterdam; days and longer periods stay local days"
    )
    fold: str | None = Field(
        None,
        min_length=1,
        description="column that marks the first (0) and the second (1) of two equal local times; none, or infer: by the order of the rows",
    )
    nonexistent: Literal["reject", "shift"] = Field(
        "reject",
        description="a local time that the clocks skip: reject the row, or shift it as if they had not been changed yet",
    )
    label: Literal["start", "end"] = Field(
        "start",
        description='whether periods within a day are named by their start or by their end, as "hour ending" 01:00 to 24:00 are',
    )
    start: str | None = Field(None, description="the date of period 1, if periods are counted 1, 2, 3 …")
    strict: bool = Field(
        False,
        description="one faulty row refuses the whole delivery, an empty value is a fault, and a gap longer than `max_gap` is put on hold; keys that are given win",
    )
    known_at: str | None = Field(
        None,
        min_length=1,
        description="column of the instants since when each row is known; a period may have several rows, its versions",
    )
    publication_lag: str | None = Field(
        None,
        description="ISO 8601 duration, such as P1D or P1M: when a series is first delivered, each value counts as known so long after the end of its period",
    )
    vintage: str | None = Field(
        None, description="strptime format of the date in the name of each file, since when its rows are known: `%Y-%m`"
    )
    operation: str | None = Field(
        None,
        min_length=1,
        description="column that says what a row does: insert, update (i, u, upsert, correct, revise), or delete (d, remove, withdraw), which makes the period a gap",
    )
    missing: Literal["reject", "gap"] = Field(
        "gap", description='how to treat empty values and NaN: leave a gap, or reject the row (`strict`: "reject")'
    )
    duplicates: Literal["error", "first", "last"] = Field(
        "error",
        description="two different values for one period: reject both, so that what is stored stays, or keep the first or the last",
    )
    extra_columns: Literal["ignore", "error"] = Field(
        "ignore", description="columns that the recipe does not name: ignore them, or refuse the batch"
    )
    limit: float = Field(1e15, gt=0, description="values with a larger magnitude are rejected")
    minimum: float | None = Field(None, description="smaller values are rejected")
    maximum: float | None = Field(None, description="larger values are rejected")
    allow_zero: bool = Field(True, description="whether 0 is accepted; if not, it is rejected")
    max_rejected: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share of rows that may be rejected before the whole batch is refused; none: 5 %, and always 2 rows (`strict`: 0)",
    )
    max_revised: float = Field(
        0.5, ge=0, le=1, description="share of the stored values that may change before the batch is put on hold"
    )
    rolling: bool = Field(
        False,
        description="the source delivers a moving window: stored values before its first row are not expected again",
    )
    on_empty: Literal["error", "keep"] = Field(
        "error", description="a delivery without rows: refuse it, or treat it as nothing new"
    )
    hint: str | None = Field(None, description="where to get the data; shown when the source is missing")

    @model_validator(mode="before")
    @classmethod
    def _set_strict_defaults(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("strict") is True:
            return {"missing": "reject", "max_rejected": 0.0, **fields}
        return fields

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if self.layout == "long" and self.value is None:
            raise _contradiction('source.value is missing: expected the column of the values, or layout = "wide"')
        if self.layout == "long" and self.columns is not None:
            raise _contradiction('source.columns is for layout = "wide"')
        if self.layout == "wide" and (self.value, self.series) != (None, None):
            raise _contradiction("a wide table has neither source.value nor source.series: its columns are the series")
        of_rows = (self.period, self.value, self.series, self.fold_column, self.known_at, self.operation)
        named = [name for name in (*of_rows, *(self.columns or ())) if name]
        if len(set(named)) < len(named):
            raise _contradiction(
                "source.period, source.value and source.series name one column twice: expected different ones"
            )
        return self

    @model_validator(mode="after")
    def _check_periods(self) -> Self:
        if self.start is not None and not _is_date(self.start):
            raise _contradiction(f'source.start is "{self.start}": expected a date, such as 1900-01-01')
        if self.period_format not in (None, *PERIOD_STYLES) and not _is_format(str(self.period_format)):
            raise _contradiction(
                f'source.period_format is "{self.period_format}": expected a strptime format, such as %m/%d/%Y, or one of {list_names(PERIOD_STYLES)}'
            )
        if self.zone is not None and not _is_zone(self.zone):
            raise _contradiction(
                f'source.zone is "{self.zone}": expected a name of the tz database, such as Europe/Amsterdam'
            )
        if self.fold is not None and self.zone is None:
            raise _contradiction("source.fold is for local times: expected source.zone beside it")
        return self

    def allows_rejected(self, num_rejected: float, num_read: int) -> bool:
        """Return whether a delivery of so many rows may have so many rejected ones."""
        if self.max_rejected is None:
            return num_rejected <= max(MAX_REJECTED_ROWS, MAX_REJECTED * num_read)
        return num_rejected / max(num_read, 1) <= self.max_rejected

    @model_validator(mode="after")
    def _check_vintages(self) -> Self:
        named = [name for name in ("known_at", "publication_lag", "vintage") if getattr(self, name) is not None]
        if len(named) > 1:
            raise _contradiction(f"source.{named[0]} and source.{named[1]}: expected one of both")
        if self.publication_lag is not None and parse_duration(self.publication_lag) is None:
            raise _contradiction(
                f'source.publication_lag is "{self.publication_lag}": expected an ISO 8601 duration, such as P1D, PT6H or P1M'
            )
        if self.vintage is not None and not _is_format(self.vintage):
            raise _contradiction(f'source.vintage is "{self.vintage}": expected a strptime format, such as %Y-%m')
        if self.vintage is not None and not hasattr(self, "path"):
            raise _contradiction("source.vintage is for files: expected source.path beside it")
        return self

    @property
    def has_versions(self) -> bool:
        """Whether a delivery may hold several versions of one value, or withdraw values."""
        return (self.known_at, self.vintage, self.operation) != (None, None, None)

    @property
    def fold_column(self) -> str | None:
        """The column that tells repeated local times apart; None if the order of the rows does."""
        return None if self.fold == "infer" else self.fold

    @property
    def settings(self) -> str:
        """The keys that decide what rows mean, as JSON: with other settings the same content means something else."""
        return self.model_dump_json(exclude=set(_NOT_MEANING))


class WrittenSource(Source):
    """A table that people write, with what they put around it."""

    decimal: Literal[".", ","] | None = Field(
        None, description="the mark before decimals; default: as the numbers show it, if that is certain"
    )
    thousands: Literal["", ",", ".", " ", "'"] | None = Field(
        None,
        description="the mark between thousands, empty for none; default: as the numbers show it, if that is certain",
    )
    skip_rows: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="lines before the header; default: the header is the first line with all named columns",
    )
    skip_footer: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="lines after the rows that are left out; default: totals, sources and notes are recognised",
    )

    @model_validator(mode="after")
    def _check_marks(self) -> Self:
        if self.decimal is not None and self.decimal == self.thousands:
            raise _contradiction("source.decimal and source.thousands are the same: expected different marks")
        return self


class TextSource(WrittenSource):
    """Rows that are written as text."""

    final_newline: bool = Field(
        False, description="the last line always ends with a newline; a file without one is refused"
    )
    max_gib: float = Field(4.0, gt=0, description="maximum size after decompression; a larger source is refused")
    delimiter: str | None = Field(
        None,
        pattern=r"^[\t -~]$",
        description="what separates the fields of a row; default: comma, semicolon, tab or pipe, as the header shows it",
    )
    encoding: str | None = Field(
        None, min_length=1, description="encoding such as cp1252; default: by the byte order mark, else UTF-8"
    )

    @model_validator(mode="after")
    def _check_dialect(self) -> Self:
        if self.delimiter is not None and (self.delimiter.isalnum() or self.delimiter == '"'):
            raise _contradiction(f"source.delimiter is {self.delimiter!r}: expected one sign, such as ;")
        if self.encoding is not None and not is_text_encoding(self.encoding):
            raise _contradiction(f'source.encoding is "{self.encoding}": expected a name such as cp1252 or utf-16')
        return self

    @property
    def may_be_csv(self) -> bool:
        """Whether the text is a table with a delimiter."""
        return True


class CsvSource(TextSource):
    """CSV files with a header."""

    kind: Literal["csv"]
    path: str = Field(
        min_length=1,
        description="file, or a pattern such as `sales-*.csv.gz`, relative to the recipe; `${NAME}` is read from the environment; `s3://` and `gs://` with the extra `objects`",
    )


class ParquetSource(Source):
    """Parquet files."""

    kind: Literal["parquet"]
    path: str = Field(min_length=1, description="as for csv")
    max_gib: float = Field(4.0, gt=0, description="maximum size after decompression; larger files are refused")


class ExcelSource(WrittenSource):
    """Excel files."""

    kind: Literal["excel"]
    path: str = Field(
        min_length=1, description="`.xlsx` file, or a pattern, as for csv; needs `pip install nextperiod[excel]`"
    )
    sheet: str | None = Field(
        None, min_length=1, description="name of the sheet; default: the only visible one with all named columns"
    )
    max_gib: float = Field(0.5, gt=0, description="maximum size after decompression; larger files are refused")


class HttpSource(TextSource):
    """A document behind an address."""

    kind: Literal["http"]
    url: str = Field(
        min_length=1,
        description="address; `{since}` becomes the newest stored period, `${NAME}` is read from the environment",
    )
    format: Literal["csv", "jsonl", "json"] = Field("csv", description="csv, jsonl (one object a line) or json")
    records: str = Field("", description="path to the list of records in a JSON document, such as data.items")
    headers: dict[str, str] = Field(
        default_factory=dict, description="headers of the request; `${NAME}` is read from the environment"
    )
    hosts: tuple[str, ...] = Field(
        (),
        strict=False,
        description="hosts, as HOST or HOST:PORT, that redirects may lead to, that may have a private address, or that may use plain http",
    )
    since: str = Field("1970-01-01", description="value of `{since}` while nothing is stored")
    timeout_seconds: float = Field(60, gt=0, description="abort requests that take longer")

    def contradictions(self) -> Iterator[str]:
        """Yield a message for each key of CSV beside another format."""
        if self.format != "csv":
            for key in sorted(set(_OF_CSV) & self.model_fields_set):
                yield f'source.{key} is for format = "csv": JSON has one way to write numbers, in UTF-8; leave it out'

    @property
    def may_be_csv(self) -> bool:
        """Whether the text is a table with a delimiter."""
        return self.format == "csv"


class SqlSource(Source):
    """A table or a query of another database, read only."""

    kind: Literal["sql"]
    url: str = Field(
        min_length=1, description="SQLAlchemy URL, such as `${WAREHOUSE_URL}`; its secrets come from the environment"
    )
    table: str | None = Field(
        None, min_length=1, description="table or view, with its schema if needed: `schema.table`"
    )
    query: str | None = Field(
        None, min_length=1, description="instead of a table: a file with one select, relative to the recipe"
    )
    cursor: str | None = Field(
        None, min_length=1, description="column that only grows: rows up to its last value are not read again"
    )
    timeout_seconds: float = Field(300, gt=0, description="abort queries that take longer")

    @model_validator(mode="after")
    def _check_table_or_query(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise _contradiction("source.table and source.query: expected one of both")
        return self


class PricesSource(Source):
    """Daily prices of listed shares or cryptocurrencies."""

    kind: Literal["prices"]
    provider: Literal["yfinance", "ccxt"] = Field(
        description="the library that fetches the prices: `pip install nextperiod[prices]`"
    )
    tickers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        min_length=1, strict=False, description="names of the series, as the provider writes them: AAPL, BTC/USDT"
    )
    exchange: str = Field("binance", description="the exchange, for ccxt")
    base_url: str | None = Field(None, description="another address of the provider's API, for a mirror")
    since: str = Field("2000-01-01", description="first day to request")
    period: Literal["date"] = Field("date", description="column of the days, always date")
    value: Literal["open", "high", "low", "close", "volume"] = Field("close", description="what is forecast")
    series: Literal["ticker"] = Field("ticker", description="column of the tickers, always ticker")
    timeout_seconds: float = Field(60, gt=0, description="abort requests that take longer")

    @model_validator(mode="after")
    def _check_since(self) -> Self:
        if not _is_date(self.since):
            raise _contradiction(f'source.since is "{self.since}": expected a date, such as 2000-01-01')
        return self


class IntegersSource(Source):
    """Random integers 0 to 9, the same for the same seed."""

    kind: Literal["integers"]
    count: int = Field(100, gt=0, description="how many")
    seed: int = Field(0, ge=0, description="seed of the generator")
    start: str = Field("2000-01-01", description="date of the first")
    period: str = "period"
    value: str | None = "value"


class FrameSource(Source):
    """Values that a Python program gives in a data frame; no recipe file can name this kind."""

    kind: Literal["frame"]
    period: str = Field("period", min_length=1, description="column of the periods")
    value: str | None = Field("value", min_length=1, description="column of the values")
    series: str | None = Field("series", min_length=1, description="column of the series' names; none: one series")


#: the kinds that a recipe file can name
TABLES: dict[str, type[Source]] = {
    "csv": CsvSource,
    "parquet": ParquetSource,
    "excel": ExcelSource,
    "http": HttpSource,
    "sql": SqlSource,
    "prices": PricesSource,
    "integers": IntegersSource,
}


@lru_cache(maxsize=1)
def added_kinds() -> dict[str, Any]:
    """Return the entry points of the kinds that other packages add, by kind; none of them is imported yet."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def source_table(kind: str) -> type[Source]:
    """Return the class that holds the keys of a kind that a recipe file can name.

    Raises:
        KeyError: the kind is not known.
    """
    return TABLES[kind] if kind in TABLES else added_kinds()[kind].load().table


def parse_source(value: Any, info: ValidationInfo) -> Any:
    """Return the source of a `[source]` table, by its kind; what is no table is left to the schema to refuse.

    A table of kind "frame" is accepted only in a stored definition, never in a new recipe.
    """
    if not isinstance(value, dict):
        return value
    kind = value.get("kind")
    if kind is None:
        raise PydanticCustomError("missing_kind", 'the key "source.kind" is missing')
    if kind == "frame" and not _is_new(info):
        return FrameSource.model_validate(value)
    try:
        table = source_table(kind)
    except (KeyError, TypeError):
        raise PydanticCustomError(
            "unknown_kind",
            "source.kind is {kind}: expected one of {kinds}",
            {"kind": repr(kind), "kinds": list_names([*TABLES, *added_kinds()])},
        ) from None
    return table.model_validate(value, context=info.context)


def _is_new(info: ValidationInfo) -> bool:
    return bool(info.context and info.context.get("is_new"))


def _contradiction(message: str) -> PydanticCustomError:
    """A fault whose message is shown as it is."""
    return PydanticCustomError("contradiction", "{message}", {"message": message})


def parse_duration(text: str) -> tuple[int, timedelta] | None:
    """Return an ISO 8601 duration as months and a length of time; None if it is none, or negative."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    years, months, weeks, days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return 12 * years + months, length


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_text_encoding(name: str) -> bool:
    """Whether Python knows an encoding of that name in which a table can be written."""
    try:
        codec = codecs.lookup(name)
        text = codec.incrementaldecoder("strict").decode("1,2\n".encode(name), final=True)
    except (LookupError, UnicodeError, TypeError, ValueError):
        return False
    return text == "1,2\n" and codec.name not in _NO_TEXT


def _is_format(form: str) -> bool:
    """Whether a format can read what it writes."""
    try:
        return datetime.strptime(datetime(2001, 2, 3).strftime(form), form).year == 2001
    except (ValueError, re.error):
        return False


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
