"""How numbers are written in a text: which mark is the decimal, which separates thousands, which unit stands beside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

#: codes of currencies that may stand before or after a number
_CURRENCIES = "EUR|USD|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|HUF|BRL|CAD|AUD|NZD|ZAR|MXN|KRW|TRY"
_UNIT = rf"(?:[%‰$£¤¥€₩₪₫₱₴₹₺₽₿¢]|{_CURRENCIES})"
#: a number with the signs that may stand around it; the groups are its parts
_SIGNED = re.compile(
    rf"(?P<open>\()?(?P<sign>[+-]?)\s?(?P<before>{_UNIT})?\s?(?P<open2>\()?(?P<sign2>[+-]?)"
    rf"(?P<body>[0-9.,' ]+(?:[eE][+-]?[0-9]+)?)"
    rf"\s?(?P<after>{_UNIT})?(?P<close>\))?"
)
#: characters of the longest number that has marks or a unit
_MAX_LENGTH = 100
#: signs that a typesetter writes in place of those on a keyboard
_PLAIN_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\N{MINUS SIGN}\N{EN DASH}\N{FULLWIDTH HYPHEN-MINUS}\N{SMALL HYPHEN-MINUS}", "-"),
        **dict.fromkeys("\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}\N{FIGURE SPACE}", " "),
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    }
)
_SPELLED = {"": "no mark", " ": "a space", "'": "an apostrophe"}


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenNumber:
    """A text taken apart: sign, digits with their marks, exponent included, and unit."""

    sign: str
    body: str
    unit: str
    #: whether it stands in parentheses, as accountants write a negative number
    in_parentheses: bool


def take_apart(text: str) -> WrittenNumber | None:
    """Return the parts of a text that may be a number; None if it cannot be one, whatever its marks mean."""
    if len(text) > _MAX_LENGTH:
        return None
    match = _SIGNED.fullmatch(text.translate(_PLAIN_SIGNS).strip())
    if match is None:
        return None
    sign, units = match["sign"] + match["sign2"], (match["before"] or "") + (match["after"] or "")
    has_open, has_close = bool(match["open"] or match["open2"]), bool(match["close"])
    is_odd = len(sign) > 1 or bool(match["before"] and match["after"]) or bool(match["open"] and match["open2"])
    if is_odd or has_open != has_close or (has_open and sign):
        return None
    return WrittenNumber(sign=sign, body=match["body"].strip(), unit=units, in_parentheses=has_open)


@dataclass(frozen=True, kw_only=True)
class NumberFormat:
    """The one way in which the numbers of a text are written."""

    decimal: str = "."
    #: "" if thousands are not separated; a space stands for every kind of space
    thousands: str = ""
    #: a currency or percent sign that stands beside the numbers
    unit: str = ""

    def to_plain(self, text: str) -> str | None:
        """Return a number as digits, a point and an exponent; None if the text is no number in this format."""
        number = take_apart(text)
        if number is None or self._is_of_another_unit(number) or not self._body.fullmatch(number.body):
            return None
        if number.in_parentheses and not number.unit:
            return None
        plain = number.body.replace(self.thousands, "") if self.thousands else number.body
        return ("-" if number.in_parentheses else number.sign) + plain.replace(self.decimal, ".")

    def explain(self, text: str) -> str:
        """Return the rule that a text breaks which is no number in this format."""
        number = take_apart(text)
        if number is not None and self._is_of_another_unit(number):
            shown, expected = (f'the unit "{unit}"' if unit else "no unit" for unit in (number.unit, self.unit))
            return f"has {shown}, most rows have {expected}: expected the same in all rows"
        if number is not None and number.in_parentheses:
            return "is in parentheses: a negative number or a remark? Expected a minus sign"
        return f"is not a number: expected {self.describe_digits()} only"

    def describe_digits(self) -> str:
        """Describe what a number may consist of."""
        if (self.decimal, self.thousands) == (".", ""):
            return "digits, a point and an exponent"
        separator = _SPELLED.get(self.thousands, f'"{self.thousands}"')
        return f'digits, "{self.decimal}" before decimals and {separator} between thousands'

    def read_column(self, text: pa.Array) -> pa.Array:
        """Return the texts of a column that are surely numbers as digits and a point; null for all others. [n]"""
        if self._is_share:
            return pa.nulls(len(text), pa.string())
        fits = pc.match_substring_regex(text, f"^[+-]?{self._body.pattern}$")
        plain = text
        if self.thousands:
            plain = pc.replace_substring(plain, self.thousands, "")
        if self.decimal != ".":
            plain = pc.replace_substring(plain, self.decimal, ".")
        return pc.if_else(fits, plain, None)

    @cached_property
    def _body(self) -> re.Pattern[str]:
        digits, decimal = "[0-9]+", re.escape(self.decimal)
        if self.thousands:
            mark = re.escape(self.thousands)
            digits += f"|[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+"
        if self.thousands == ",":  # 12,34,567 as in India
            digits += "|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}"
        return re.compile(f"(?:(?:{digits})(?:{decimal}[0-9]*)?|{decimal}[0-9]+)(?:[eE][+-]?[0-9]+)?")

    def _is_of_another_unit(self, number: WrittenNumber) -> bool:
        """Whether the unit differs; a currency may be left out, a percent sign may not, except for zero."""
        if number.unit or not self.unit:
            return number.unit != self.unit
        return self._is_share and bool(number.body.strip("0.,"))

    @property
    def _is_share(self) -> bool:
        return self.unit in ("%", "‰")


PLAIN = NumberFormat()
