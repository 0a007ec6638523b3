"""How a text is laid out: the delimiter, the line of the header, and where its rows end.

Each is taken from the recipe, else found where it is certain. The header is the first line that holds all columns that
the recipe names. Lines after the rows are a footer if they cannot be rows and say what they are: totals, sources, notes.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.sources.number_format import PLAIN, NumberFormat
from pipeline.text import counted

DELIMITERS = (",", ";", "\t", "|")
#: lines in which the header is looked for
MAX_PREAMBLE_LINES = 1000
#: lines of one header whose names hold line breaks
_MAX_HEADER_LINES = 20
#: lines of a footer, blank ones included
MAX_FOOTER_ROWS = 200

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_BLANKS = " \t\r\n\v\f\N{NO-BREAK SPACE}"
_TOTALS = re.compile(
    r"(?:grand |sub-?)?total[es]?|sum|summe|gesamt(?:summe)?|insgesamt|zusammen|average|mean|mittelwert|durchschnitt"
    r"|totaal|totale|totaux|suma|somme|moyenne|media|gemiddelde",
    re.IGNORECASE,
)
_REMARKS = re.compile(
    r"(?:data )?(?:source|note|remark|footnote|quelle|anmerkung|hinweis|fu(?:ß|ss)note|fuente|fonte|bron|nota|remarque)[ns]?\b"
    r"|(?:last )?updated\b|last update\b|data from\b|stand:|copyright\b|\(c\)|©|\*|#|_{3,}|-{3,}|={3,}",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How a text is written."""

    delimiter: str = ","
    encoding: str = "utf-8"
    #: line of the header, counted from 1
    header_line: int = 1
    #: offset of the header in the UTF-8 text
    start: int = 0
    #: offset after the last row; None: at the end of the text
    end: int | None = None
    #: lines after the last row that are left out, blank ones not counted
    num_footer_lines: int = 0
    #: whether blanks stand between a delimiter and a quote
    has_blanks_before_quotes: bool = False
    numbers: NumberFormat = field(default=PLAIN)

    @property
    def is_usual(self) -> bool:
        """Whether nothing about it needs to be said."""
        is_whole = self.header_line == 1 and self.num_footer_lines == 0
        return is_whole and (self.delimiter, self.encoding, self.numbers) == (",", "utf-8", PLAIN)

    def describe(self) -> str:
        """Return it in words, as messages show it."""
        shown = {"\t": "tab"}.get(self.delimiter, f'"{self.delimiter}"')
        parts = [f"delimiter {shown}"]
        if self.numbers != PLAIN:
            parts.append(f'decimal "{self.numbers.decimal}"')
        if self.numbers.thousands:
            parts.append(f'thousands "{self.numbers.thousands}"')
        if self.numbers.unit:
            parts.append(f'unit "{self.numbers.unit}"')
        parts.append(f"encoding {self.encoding}")
        if self.header_line > 1:
            parts.append(f"header in line {self.header_line}")
        if self.num_footer_lines:
            parts.append(f"{counted(self.num_footer_lines, 'line')} after the rows left out")
        return ", ".join(parts)


DEFAULT_DIALECT = Dialect()


@dataclass(frozen=True, slots=True)
class Header:
    """The line of a text that names its columns."""

    delimiter: str
    line: int
    start: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    start: int
    text: str


def find_header(beginning: bytes, names: Sequence[str], *, delimiter: str | None, skip_rows: int | None) -> Header:
    """Return the first line that holds all named columns; if none does, the line that most probably is the header.

    Args:
        beginning: the text in UTF-8 from its first byte on, the whole of it or its first block.
        names: of the columns.
        delimiter: the delimiter that the recipe names, if any.
        skip_rows: the number of lines before the header that the recipe names, if any.
    """
    lines = [line for line in _split_lines(beginning) if line.number > (skip_rows or 0)]
    filled = [position for position, line in enumerate(lines) if line.text.strip(_BLANKS + ",;|")]
    delimiters = (delimiter,) if delimiter else DELIMITERS
    wanted = {name.strip() for name in names}
    for position in filled[:1] if skip_rows is not None else filled[:MAX_PREAMBLE_LINES]:
        for candidate in delimiters:
            fields = _read_record(lines, position, candidate)
            if len(fields) > 1 and wanted <= set(fields):
                return Header(candidate, lines[position].number, lines[position].start, fields)
    return _guess_header(lines, filled if skip_rows is None else filled[:1], delimiters)


def _split_lines(content: bytes) -> list[_Line]:
    lines: list[_Line] = []
    for match in _LINE.finditer(content):
        if len(lines) > MAX_PREAMBLE_LINES or match.start() == len(content):
            break
        raw = match[0].removeprefix(codecs.BOM_UTF8) if match.start() == 0 else match[0]
        lines.append(_Line(len(lines) + 1, match.start(), raw.decode("utf-8", "ignore").rstrip("\r\n")))
    return lines


def _read_record(lines: Sequence[_Line], position: int, delimiter: str) -> tuple[str, ...]:
    """Return the fields of the record that begins in a line, without blanks around them; none if it is no record."""
    record = (line.text + "\n" for line in lines[position : position + _MAX_HEADER_LINES])
    try:
        return tuple(
            name.strip()
            for name in next(csv.reader(record, delimiter=delimiter, skipinitialspace=True, strict=True), [])
        )
    except csv.Error:
        return ()


def _guess_header(lines: Sequence[_Line], filled: Sequence[int], delimiters: Sequence[str]) -> Header:
    """Return the first of the lines that have as many fields as most lines have, with the likeliest delimiter."""
    if not filled:
        return Header(delimiters[0], 1, 0, ())
    guesses = []
    for delimiter in delimiters:
        lengths = {position: max(len(_read_record(lines, position, delimiter)) - 1, 0) for position in filled}
        (most, count), *_ = Counter(length for length in lengths.values() if length).most_common(1) or [(0, 0)]
        first = next(position for position in filled if lengths[position] == most or not count)
        guesses.append((count, -delimiters.index(delimiter), first, delimiter))
    _, _, position, delimiter = max(guesses)
    line = lines[position]
    return Header(delimiter, line.number, line.start, _read_record(lines, position, delimiter))


@dataclass(frozen=True, slots=True)
class Footer:
    """The lines after the rows of a text."""

    #: offset of the first of them
    start: int
    #: how many, blank ones not counted
    num_lines: int


def find_footer(ending: bytes, offset: int, header: Header, *, period: str, skip: int | None) -> Footer | None:
    """Return the footer of a text; None if there is none.

    Args:
        ending: the last bytes of the text in UTF-8.
        offset: of `ending` in the text.
        header: of the text.
        period: column of the periods.
        skip: the number of footer lines that the recipe names, if any.
    """
    lines = list(_lines_from_end(ending, offset, header))
    if skip is None:
        position = header.fields.index(period) if period in header.fields else 0
        length = count_footer([_fields_of(line, header.delimiter) for line in lines], position)
    else:
        length = count_last([line.text for line in lines], skip)
    num_filled = sum(not _is_blank(line, header.delimiter) for line in lines[:length])
    return Footer(lines[length - 1].start, num_filled) if num_filled else None


def has_blanks_before_quotes(beginning: bytes, header: Header) -> bool:
    """Return whether blanks stand between a delimiter and a quote, as in `month, "sold"`."""
    return header.delimiter != " " and f'{header.delimiter} "'.encode() in beginning


def count_footer(rows: Sequence[Sequence[str]], position: int) -> int:
    """Return how many rows at the end of a table are no rows of data, blank ones included.

    Args:
        rows: their fields without blanks around them, the last row first.
        position: of the field that holds the period.
    """
    num_certain = 0
    for number, fields in enumerate(rows[:MAX_FOOTER_ROWS], start=1):
        is_certain = not any(fields) or _is_remark(fields, position)
        if not (is_certain or _is_sentence(fields)):
            break
        # a lone sentence is no row only after a blank line or a known word: it may be a row that was cut
        num_certain = number if is_certain else num_certain
    return num_certain


def count_last(rows: Sequence[str], num_filled: int) -> int:
    """Return how many rows, the last one first, hold so many rows that are not blank."""
    filled = [number for number, text in enumerate(rows, start=1) if text.strip(_BLANKS)][:num_filled]
    return filled[-1] if filled else 0


def _lines_from_end(ending: bytes, offset: int, header: Header) -> Iterator[_Line]:
    """Yield the whole lines after the header, the last one first; their numbers are not known."""
    matches = [match for match in _LINE.finditer(ending) if match.start() < len(ending)]
    for match in reversed(matches[1:] if offset else matches):
        start = offset + match.start()
        if start <= header.start:
            return
        yield _Line(0, start, match[0].decode("utf-8", "ignore").rstrip("\r\n"))


def _fields_of(line: _Line, delimiter: str) -> list[str]:
    try:
        return [text.strip(_BLANKS) for text in next(csv.reader([line.text], delimiter=delimiter, strict=True), [])]
    except csv.Error:
        return ['"']  # of a field with line breaks: neither blank nor a sentence


def _is_blank(line: _Line, delimiter: str) -> bool:
    return not line.text.strip(_BLANKS + delimiter + '"')


def _is_remark(fields: Sequence[str], position: int) -> bool:
    """Whether a line says that it is a total or a remark, and has no period."""
    period = fields[position] if position < len(fields) else ""
    if _TOTALS.fullmatch((period or "".join(fields[:1])).rstrip(": ")):
        return True
    has_period = position > 0 and any(character.isdigit() for character in period)
    return not has_period and bool(fields) and _REMARKS.match(fields[0]) is not None


def _is_sentence(fields: Sequence[str]) -> bool:
    """Whether only the first field of a line is filled, with words."""
    return _count_filled(fields) == 1 and bool(fields[0]) and _WORD.search(fields[0]) is not None


def _count_filled(fields: Sequence[str]) -> int:
    return sum(map(bool, fields))
