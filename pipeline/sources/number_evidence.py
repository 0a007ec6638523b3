"""How numbers of a text are written, decided by all of them together, and only where that is certain.

`1,514` alone may be 1514 or 1.514. What decides it is another number of the same file:

- `1.513,82` holds both marks: the last one stands before the decimals.
- `1,514,000` holds one mark twice: it separates thousands.
- `0,514`, `12,5` and `1514,250` cannot be thousands: the comma stands before decimals. A few such values among many
  others may be typing errors, so they decide only if they are at least `TYPICAL` of all.
- Values from 100 to 999 without a mark beside `1,510` in the same series: decimals are either written in all rows or
  without their zeros at the end, so this is thousands. The same if the decimals would be a hundred times too small.

A comma between the fields says only that a lone point stands before decimals, as all programs write it. It does not
say what a comma means: Google Sheets writes "1,514" for 1.514 in Germany, and Excel for 1514 in America.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sources.number_format import NumberFormat, take_apart

#: share of the values with a mark that must speak for a reading; fewer may be typing errors
TYPICAL = 0.05
#: different values from 100 to 999 that show that a series passes 1000 without decimals
_FEW_HUNDREDS = 3
#: decimals are implausible beside values that are so many times larger
_IMPLAUSIBLE = 100.0
#: values after which what is clear is not looked at further
_MANY = 1000

_MARKS = (".", ",")
_GROUPED = re.compile(r"[1-9][0-9]{0,2}([ '])[0-9]{3}(?:\1[0-9]{3})*")
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}([.,])[0-9]{3}(?:\1[0-9]{3})+|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}")
_BOTH = re.compile(
    r"(?:[1-9][0-9]{0,2}([.,' ])[0-9]{3}(?:\1[0-9]{3})*|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?=\.))(?!\1)([.,])[0-9]*"
)
_UNCLEAR = re.compile(r"([1-9][0-9]{0,2})([.,])([0-9]{3})")
_DECIMAL = re.compile(r"([0-9]*)([.,])([0-9]*)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number stands."""

    line: int
    column: str
    text: str


class UnclearNumbers(Exception):
    """The numbers can be read in more than one way; the message gives an example, and the line where it stands."""

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message)
        self.place = place


@dataclass(slots=True)
class _MarkCounts:
    """How often a mark stands in numbers that can be read in one way only, or in both."""

    #: its decimals are certain: 0,514 or 1.513,82
    decimal: int = 0
    #: it is no mark of thousands, unless the value is mistyped: 12,5
    likely_decimal: int = 0
    thousands: int = 0
    unclear: int = 0
    #: unclear values that end in zero
    unclear_zero: int = 0
    #: the largest unclear value, if the mark stood before decimals
    largest: float = 0.0

    @property
    def total(self) -> int:
        return self.decimal + self.likely_decimal + self.thousands + self.unclear

    @property
    def is_decimal(self) -> bool:
        """Whether the mark certainly stands before decimals."""
        is_mixed = self.unclear_zero > 0 and self.likely_decimal < self.total / 2
        likely = self.likely_decimal >= TYPICAL * self.total and not is_mixed
        has_proof = self.decimal > 0 or (self.likely_decimal > 0 and likely)
        return has_proof and self.thousands <= TYPICAL * self.total

    @property
    def is_thousands(self) -> bool:
        """Whether the mark certainly separates thousands."""
        return self.thousands > 0 and self.decimal + self.likely_decimal <= TYPICAL * self.total


@dataclass(slots=True)
class NumberEvidence:
    """What the numbers of some columns say about the way in which they are written: call `add`, then `decide`.

    Args:
        is_one_series: whether all values are of one series, so that their sizes can be compared.
    """

    is_one_series: bool
    num_values: int = 0
    #: where the first unclear number of each mark stands
    _examples: dict[str, Place] = field(default_factory=dict)
    _marks: dict[str, _MarkCounts] = field(default_factory=lambda: {mark: _MarkCounts() for mark in _MARKS})
    _groups: Counter[str] = field(default_factory=Counter)
    _units: Counter[str] = field(default_factory=Counter)
    _hundreds: set[int] = field(default_factory=set)
    #: values of 1000 and more without a mark between their thousands
    _num_unseparated: int = 0

    def add(self, column: pa.Array, name: str, lines: Sequence[int] | npt.NDArray[np.int64]) -> None:
        """Look at the texts of a column.

        Args:
            column: texts as they are written. [n]
            name: of the column.
            lines: line of each. [n]
        """
        self.num_values += len(column)
        counted: Any = pc.value_counts(column)
        for text, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
            number = take_apart(text)
            if number is None:
                continue
            self._units[number.unit] += count
            mark = self._count(number.body, count)
            if mark is not None and mark not in self._examples:
                self._examples[mark] = Place(int(lines[pc.index(column, text).as_py()]), name, text.strip())

    def _count(self, body: str, count: int) -> str | None:
        """Count one way of writing; return its mark if it is unclear."""
        if body.isdecimal():
            self._count_whole(body, count)
        elif match := _UNCLEAR.fullmatch(body):
            self._count_unclear(match, count)
            return match[2]
        elif match := _GROUPED.fullmatch(body):
            self._groups[match[1]] += count
        elif match := _THOUSANDS.fullmatch(body):
            self._marks[match[1] or ","].thousands += count
        elif match := _BOTH.fullmatch(body):
            self._marks[match[2]].decimal += count
            if match[1] in (" ", "'"):
                self._groups[match[1]] += count
            else:
                self._marks[match[1] or ","].thousands += count
        elif match := _DECIMAL.fullmatch(body):
            self._count_decimal(match, count)
        return None

    def _count_whole(self, digits: str, count: int) -> None:
        if len(digits) == 3 and digits[0] != "0" and len(self._hundreds) < 1000:
            self._hundreds.add(int(digits))
        self._num_unseparated += count if len(digits.lstrip("0")) > 3 else 0

    def _count_unclear(self, match: re.Match[str], count: int) -> None:
        counts = self._marks[match[2]]
        counts.unclear += count
        counts.unclear_zero += count if match[3].endswith("0") else 0
        counts.largest = max(counts.largest, float(f"{match[1]}.{match[3]}"))

    def _count_decimal(self, match: re.Match[str], count: int) -> None:
        whole, mark, _ = match.groups()
        self._num_unseparated += count if len(whole) > 3 else 0
        if whole.strip("0"):
            self._marks[mark].likely_decimal += count
        else:
            self._marks[mark].decimal += count

    @property
    def is_settled(self) -> bool:
        """Whether enough numbers were seen to know what their marks mean."""
        has_proof = any(counts.is_decimal or counts.is_thousands for counts in self._marks.values())
        return has_proof and self.num_values >= _MANY

    def decide(self, *, decimal: str | None, thousands: str | None, delimiter: str) -> NumberFormat:
        """Return how the numbers are written.

        Args:
            decimal: the mark before decimals, if the recipe names it.
            thousands: the mark between thousands, if the recipe names it; "" is none.
            delimiter: what separates the fields of a row.

        Raises:
            UnclearNumbers: it is not certain.
        """
        chosen = self._decide_decimal(thousands, delimiter) if decimal is None else decimal
        if thousands is None:
            thousands = self._decide_thousands(chosen, is_decimal_known=decimal is not None)
        return NumberFormat(decimal=chosen, thousands=thousands, unit=self._find_unit())

    def _decide_decimal(self, thousands: str | None, delimiter: str) -> str:
        if thousands in _MARKS:
            return _other(thousands)
        present = {mark for mark in _MARKS if self._marks[mark].total}
        candidates = present if thousands is not None else self._find_candidates(delimiter)
        if len(candidates) == 1:
            return candidates.pop()
        if candidates:
            raise UnclearNumbers(
                'has numbers with decimals after a comma and others with decimals after a point: set source.decimal = "," '
                'or "." in the recipe; the other numbers are rejected'
            )
        is_usual = present <= {"."} and (delimiter == "," or not present) and not self._passes_1000(".")
        if not is_usual:
            raise self._doubt("," if "," in present else ".")
        return "."

    def _find_candidates(self, delimiter: str) -> set[str]:
        """Return the marks that the numbers show to stand before decimals: one, unless they contradict each other."""
        votes: Counter[str] = Counter()
        for mark, counts in self._marks.items():
            if counts.is_decimal:
                votes[mark] += counts.decimal + counts.likely_decimal
            if self._separates_thousands(mark, delimiter):
                votes[_other(mark)] += counts.thousands + counts.unclear
        return {mark for mark, count in votes.items() if count > TYPICAL * votes.total()}

    def _separates_thousands(self, mark: str, delimiter: str) -> bool:
        is_usual_decimal = mark == "." and delimiter == ","
        return self._marks[mark].is_thousands or (not is_usual_decimal and self._passes_1000(mark))

    def _passes_1000(self, mark: str) -> bool:
        """Whether values below 1000 have no mark and those above have one, in a series where it can be no decimal."""
        counts = self._marks[mark]
        if not self.is_one_series or not counts.unclear or len(self._hundreds) < _FEW_HUNDREDS:
            return False
        num_others = counts.decimal + counts.likely_decimal + self._num_unseparated
        is_implausible = min(self._hundreds) >= _IMPLAUSIBLE * counts.largest
        return num_others <= TYPICAL * counts.total and (counts.unclear_zero > 0 or is_implausible)

    def _decide_thousands(self, decimal: str, *, is_decimal_known: bool) -> str:
        """Return the mark between thousands, which is not the one before decimals; "" if there is none."""
        mark = _other(decimal)
        counts, groups = self._marks[mark], self._groups.most_common(1)
        if groups and groups[0][1] > counts.total:
            return groups[0][0]
        if is_decimal_known:
            return mark if counts.total else ""
        num_decimals = counts.decimal + counts.likely_decimal
        if counts.thousands + counts.unclear == 0 or num_decimals > TYPICAL * counts.total:
            return ""
        is_usual = counts.thousands > 0 or self._num_unseparated <= TYPICAL * counts.unclear
        if not is_usual and counts.unclear > TYPICAL * self.num_values:
            raise self._doubt(mark)
        return mark if is_usual else ""

    def _find_unit(self) -> str:
        """Return the unit of most rows that have one; none if most numbers are written without a percent sign."""
        units = Counter({unit: count for unit, count in self._units.items() if unit}).most_common(1)
        if not units or (units[0][0] in "%‰" and units[0][1] < self._units[""]):
            return ""
        return units[0][0]

    def _doubt(self, mark: str) -> UnclearNumbers:
        example = self._examples.get(mark)
        keys = f'set source.thousands = "{mark}" or source.decimal = "{mark}" in the recipe'
        number = take_apart(example.text) if example else None
        if example is None or number is None:
            return UnclearNumbers(f'has numbers in which "{mark}" may separate thousands or decimals: {keys}')
        large, small = number.body.replace(mark, ""), number.body.replace(mark, ".")
        return UnclearNumbers(
            f'"{example.text}" may be {large} or {small}, and no other number decides it: {keys}', example
        )


def _other(mark: str) -> str:
    return "," if mark == "." else "."
