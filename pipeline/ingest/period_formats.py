"""How periods are written where they are not ISO 8601: found on the whole column, and only where it is certain.

A column of `1/2/2020` may be January or February; a column of `43466` may be days of Excel or something else. A style is
taken if all but a few texts have it and the periods are on the grid of the recipe, and if no other style is so too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline.timeseries.frequency import Frequency, Periods

#: share of the texts that may have another style: each of these rows is rejected
_MOST_OTHERS = 0.05
#: share of the periods that may be beside the grid
_MOST_OFF_GRID = 0.05
#: of so many periods and more, a reading that has this share of its span's periods rules out those with less than that
_FEWEST_FOR_DENSITY, _DENSE, _SPARSE = 20, 0.5, 0.1
#: years that a number can name, and those that a number of seconds or days can lie in
_YEARS = range(1700, 2200)
_EPOCH_YEARS = range(1971, 2100)
#: years of two digits from this one on are of the last century, as POSIX has it
_FIRST_OF_LAST_CENTURY = 69
_EXCEL_START = datetime(1899, 12, 30)
_MONTH_NAMES = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
_TIME = r"(?:[T ,]+(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.0+)?)?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?)?"
_OFFSET = re.compile(r"[0-9]{2}:?[0-9]{2}.*?(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2})?$")
_INTERVAL = re.compile(r"(?P<start>.{8,}?[0-9])(?: - | \N{EN DASH} |--|/)(?P<end>[0-9].*:.*)")


class UnclearPeriods(ValueError):
    """Periods that can mean several things: a person has to say which, and the message says how."""


@dataclass(frozen=True, slots=True)
class PeriodStyle:
    """One way to write periods."""

    #: as recipes and messages name it
    name: str
    #: an example of it
    example: str
    read: Callable[[str], datetime | None]
    #: whether the moments are on the clock of UTC
    is_utc: bool = False
    #: months or days that a text names where it names a span: a year, a quarter, a month, a week
    months: int = 0
    days: int = 0
    #: the key that says so, if it can
    key: str | None = None

    def read_all(self, texts: Sequence[str], grid: Frequency) -> Periods:
        """Return the period that each text names, NaT where it has another style: [n]."""
        moments = np.array([self.read(text) for text in texts], "datetime64[us]")
        return place_spans(moments, grid, months=self.months, days=self.days)


def place_spans(starts: Periods, grid: Frequency, *, months: int, days: int) -> Periods:
    """Return the period of the grid that lies in each span: a month is named by its last day if the frequency does so.

    Args:
        starts: first days of the spans, NaT included. [n]
        grid: of the periods.
        months: length of the spans; 0 if it is in days.
        days: length of the spans; 0 for both if they are no spans, and nothing changes.
    """
    is_span = ~np.isnat(starts)
    if not (months or days) or grid.is_within_day or grid.is_daily or not is_span.any():
        return starts
    first = starts[is_span]
    if months:
        ends = (first.astype("datetime64[M]") + months).astype("datetime64[us]")
    else:
        ends = first + np.timedelta64(days, "D")
    labels = grid.between(first.min(), ends.max())
    at = np.searchsorted(labels, first)
    is_one = (np.searchsorted(labels, ends) - at) == 1
    placed = starts.copy()
    placed[is_span] = np.where(is_one, labels[np.minimum(at, len(labels) - 1)] if len(labels) else first, first)
    return placed


def detect_style(texts: Sequence[str], grid: Frequency, column: str) -> PeriodStyle | None:
    """Return the one style that distinct texts have, and whose periods are on the grid; None if there is none.

    Raises:
        UnclearPeriods: several styles fit, and they mean different periods.
    """
    texts = [text for text in texts if text]
    if not texts:
        return None
    all_read = [(style, style.read_all(texts, grid)) for style in STYLES]
    fewest = min(int(np.isnat(periods).sum()) for _, periods in all_read)
    if fewest > max(_MOST_OTHERS * len(texts), min(2, len(texts) - 3)):
        return None
    fitting = [(style, periods) for style, periods in all_read if np.isnat(periods).sum() == fewest]
    on_grid = [(style, periods) for style, periods in fitting if _is_on_grid(periods, grid)]
    chosen = _without_sparse(on_grid, grid) or fitting
    differing = [style for style, periods in chosen if not np.array_equal(periods, chosen[0][1], equal_nan=True)]
    if differing:
        keys = " or ".join(f'"{style.key or style.name}"' for style in (chosen[0][0], *differing))
        raise UnclearPeriods(
            f'column {column}: "{texts[0]}" and {len(texts) - 1} other periods can be read as {keys}, and the whole column '
            "does not show which: set source.period_format to the right one"
        )
    return chosen[0][0] if chosen else None


def style_named(name: str) -> PeriodStyle | None:
    """Return the style that `source.period_format` names; None if it is a strptime format."""
    return next((style for style in STYLES if style.key == name and not name.startswith("%")), None)


def offsets_from_utc(texts: Iterable[str]) -> dict[int, str]:
    """Return the offsets from UTC in texts, in minutes, each with the first text that has it."""
    offsets: dict[int, str] = {}
    for text in texts:
        match = _OFFSET.search(text)
        if match:
            minutes = int(match["hours"]) * 60 + int(match["minutes"] or 0)
            offsets.setdefault(-minutes if match["sign"] == "-" else minutes, text)
    return offsets


def _without_sparse(read: list[tuple[PeriodStyle, Periods]], grid: Frequency) -> list[tuple[PeriodStyle, Periods]]:
    """Leave out the readings with a few scattered periods, if another reading has nearly all periods of its span.

    `13/01/24`, `14/01/24` … are days that follow each other, or the 24th of January in the years 2013, 2014 …
    """
    if len(read) < 2 or len(read[0][1]) < _FEWEST_FOR_DENSITY:
        return read
    shares = [_share_of_span(periods, grid) for _, periods in read]
    if max(shares) < _DENSE:
        return read
    return [one for one, share in zip(read, shares, strict=True) if share >= _SPARSE]


def _share_of_span(periods: Periods, grid: Frequency) -> float:
    """Return how many of the grid's periods between the first and the last one there are, as a share."""
    present = np.unique(periods[~np.isnat(periods)])
    return len(present) / max(grid.steps_between(present[0], present[-1]) + 1, 1)


def _is_on_grid(periods: Periods, grid: Frequency) -> bool:
    present = np.unique(periods[~np.isnat(periods)])
    first, last = np.datetime64("1678-01-01", "us"), np.datetime64("2261-12-31", "us")
    if len(present) == 0 or present[0] < first or present[-1] > last:
        return False
    return bool(grid.on_grid(present).mean() >= 1 - _MOST_OFF_GRID)


def _fields(pattern: str) -> Callable[[str], datetime | None]:
    """Return a reader of texts with the named groups year, month, name, quarter, week, weekday, day and of a time."""
    compiled = re.compile(pattern, re.IGNORECASE)

    def read(text: str) -> datetime | None:
        match = compiled.fullmatch(text)
        return _moment({key: value for key, value in match.groupdict().items() if value}) if match else None

    return read


def _moment(fields: dict[str, str]) -> datetime | None:
    year = int(fields["year"])
    if len(fields["year"]) == 2:
        year += 1900 if year >= _FIRST_OF_LAST_CENTURY else 2000
    if year not in _YEARS:
        return None
    try:
        if "week" in fields:
            return datetime.fromisocalendar(year, int(fields["week"]), int(fields.get("weekday", 1)))
        month = int(fields.get("month", 1))
        if "name" in fields:
            month = _MONTH_NAMES.index(fields["name"][:3].lower()) + 1
        if "quarter" in fields:
            month = 3 * int(fields["quarter"]) - 2
        return datetime(year, month, int(fields.get("day", 1))) + _time_of_day(fields)
    except ValueError:
        return None


def _time_of_day(fields: dict[str, str]) -> timedelta:
    """Return the time since midnight; 24:00 is the midnight after the day.

    Raises:
        ValueError: there is no such time.
    """
    hour, minute, second = (int(fields.get(key, 0)) for key in ("hour", "minute", "second"))
    if "half" in fields:
        if not 1 <= hour <= 12:
            raise ValueError(f"{hour} is no hour of half a day")
        hour = hour % 12 + (12 if fields["half"].lower() == "p" else 0)
    time = timedelta(hours=hour, minutes=minute, seconds=second)
    if minute > 59 or second > 59 or time > timedelta(days=1):
        raise ValueError(f"{hour}:{minute} is no time of a day")
    return time


def _epoch(digits: str, unit: float) -> Callable[[str], datetime | None]:
    pattern = re.compile(rf"{digits}(?:\.0+)?")

    def read(text: str) -> datetime | None:
        if not pattern.fullmatch(text):
            return None
        moment = datetime.fromtimestamp(0, UTC).replace(tzinfo=None) + timedelta(
            microseconds=int(text.split(".")[0]) * 1_000_000 // int(unit)
        )
        return moment if moment.year in _EPOCH_YEARS else None

    return read


def _read_excel(text: str) -> datetime | None:
    if not re.fullmatch(r"[2-7][0-9]{4}(?:\.[0-9]+)?", text):
        return None
    days = float(text)
    return _EXCEL_START + timedelta(days=int(days), seconds=round((days - int(days)) * 86_400))


def _read_interval(text: str) -> datetime | None:
    """Return the start of an interval that is written with both ends."""
    match = _INTERVAL.fullmatch(text)
    if match is None:
        return None
    return next((moment for read in _STARTS if (moment := read(match["start"])) is not None), None)


_ISO_TIME = _fields(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})" + _TIME)
_DOTTED = _fields(r"(?P<day>[0-9]{1,2})\.(?P<month>[0-9]{1,2})\.(?P<year>[0-9]{4})" + _TIME)
_STARTS = (_ISO_TIME, _DOTTED)

_YEAR, _MM, _DD = r"(?P<year>[0-9]{4})", r"(?P<month>[0-9]{1,2})", r"(?P<day>[0-9]{1,2})"
_YY = r"(?P<year>[0-9]{2})"
_QUARTER = r"Q(?P<quarter>[1-4])"

STYLES = (
    PeriodStyle("YYYY-Qn", "2005-Q1", _fields(rf"{_YEAR}[-/ ]?{_QUARTER}"), months=3, key="quarter"),
    PeriodStyle("Qn YYYY", "Q1 2005", _fields(rf"{_QUARTER}[-/ ]?{_YEAR}"), months=3),
    PeriodStyle("YYYY-Www", "2016-W01", _fields(rf"{_YEAR}-?W(?P<week>[0-9]{{2}})"), days=7, key="iso-week"),
    PeriodStyle(
        "YYYY-Www-D", "2016-W01-1", _fields(rf"{_YEAR}-?W(?P<week>[0-9]{{2}})-?(?P<weekday>[1-7])"), key="iso-week-date"
    ),
    PeriodStyle("YYYY", "2016", _fields(_YEAR), months=12, key="year"),
    PeriodStyle("YYYYMM", "201601", _fields(r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})"), months=1, key="%Y%m"),
    PeriodStyle("YYYY-MM", "2016-01", _fields(rf"{_YEAR}[-/]{_MM}"), months=1),
    PeriodStyle("YYYYMmm", "2016M01", _fields(rf"{_YEAR}-?M(?P<month>[0-9]{{1,2}})"), months=1),
    PeriodStyle("MM/YYYY", "01/2016", _fields(rf"{_MM}[-/.]{_YEAR}"), months=1),
    PeriodStyle("Mon YYYY", "Jan 2016", _fields(rf"{_MONTH}[- ,]*{_YEAR}"), months=1),
    PeriodStyle("YYYY Mon", "2016 Jan", _fields(rf"{_YEAR}[- ]*{_MONTH}"), months=1),
    PeriodStyle(
        "YYYYMMDD", "20160131", _fields(r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"), key="%Y%m%d"
    ),
    PeriodStyle("YYYY-MM-DD", "2016-01-31", _fields(rf"{_YEAR}(?:-{_MM}-{_DD})" + _TIME)),
    PeriodStyle("YYYY/MM/DD", "2016/01/31", _fields(rf"{_YEAR}/{_MM}/{_DD}" + _TIME), key="%Y/%m/%d"),
    PeriodStyle("M/D/YYYY", "1/31/2016", _fields(rf"{_MM}/{_DD}/{_YEAR}" + _TIME), key="%m/%d/%Y"),
    PeriodStyle("D/M/YYYY", "31/1/2016", _fields(rf"{_DD}/{_MM}/{_YEAR}" + _TIME), key="%d/%m/%Y"),
    PeriodStyle("M-D-YYYY", "1-31-2016", _fields(rf"{_MM}-{_DD}-{_YEAR}" + _TIME), key="%m-%d-%Y"),
    PeriodStyle("D-M-YYYY", "31-1-2016", _fields(rf"{_DD}-{_MM}-{_YEAR}" + _TIME), key="%d-%m-%Y"),
    PeriodStyle("D.M.YYYY", "31.1.2016", _DOTTED, key="%d.%m.%Y"),
    PeriodStyle("M.D.YYYY", "1.31.2016", _fields(rf"{_MM}\.{_DD}\.{_YEAR}" + _TIME), key="%m.%d.%Y"),
    PeriodStyle("D Mon YYYY", "31 Jan 2016", _fields(rf"{_DD}[- ]{_MONTH}[- ,]+{_YEAR}" + _TIME)),
    PeriodStyle("Mon D, YYYY", "Jan 31, 2016", _fields(rf"{_MONTH} {_DD},? {_YEAR}" + _TIME)),
    PeriodStyle("Mon-YY", "Jan-16", _fields(rf"{_MONTH}[- '/]{_YY}"), months=1, key="%b-%y"),
    PeriodStyle("D-Mon-YY", "31-Jan-16", _fields(rf"{_DD}[- /]{_MONTH}[- /]{_YY}" + _TIME), key="%d-%b-%y"),
    PeriodStyle("M/D/YY", "1/31/16", _fields(rf"{_MM}/{_DD}/{_YY}" + _TIME), key="%m/%d/%y"),
    PeriodStyle("D/M/YY", "31/1/16", _fields(rf"{_DD}/{_MM}/{_YY}" + _TIME), key="%d/%m/%y"),
    PeriodStyle("YY/MM/DD", "16/01/31", _fields(rf"{_YY}/{_MM}/{_DD}" + _TIME), key="%y/%m/%d"),
    PeriodStyle("D-M-YY", "31-1-16", _fields(rf"{_DD}-{_MM}-{_YY}" + _TIME), key="%d-%m-%y"),
    PeriodStyle("M-D-YY", "1-31-16", _fields(rf"{_MM}-{_DD}-{_YY}" + _TIME), key="%m-%d-%y"),
    PeriodStyle("YY-MM-DD", "16-01-31", _fields(rf"{_YY}-{_MM}-{_DD}" + _TIME), key="%y-%m-%d"),
    PeriodStyle("D.M.YY", "31.1.16", _fields(rf"{_DD}\.{_MM}\.{_YY}" + _TIME), key="%d.%m.%y"),
    PeriodStyle("start - end", "2024-01-01 00:00 - 01:00", _read_interval, key="interval"),
    PeriodStyle("seconds since 1970", "1546300800", _epoch("[0-9]{8,10}", 1), is_utc=True, key="epoch-s"),
    PeriodStyle("milliseconds since 1970", "1546300800000", _epoch("[0-9]{11,13}", 1e3), is_utc=True, key="epoch-ms"),
    PeriodStyle(
        "microseconds since 1970", "1546300800000000", _epoch("[0-9]{14,16}", 1e6), is_utc=True, key="epoch-us"
    ),
    PeriodStyle(
        "nanoseconds since 1970", "1546300800000000000", _epoch("[0-9]{17,19}", 1e9), is_utc=True, key="epoch-ns"
    ),
    PeriodStyle("days of Excel", "43466", _read_excel, key="excel"),
)
