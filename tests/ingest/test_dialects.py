"""CSV as people have it: other delimiters, decimals, encodings, lines before the header and after the rows.

What is certain is read right at the first try. What is not is asked for in one line that names the keys:
a number that is wrong by a factor of a thousand must never be stored.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchRefused, InvalidRecipe
from pipeline.sources.delivery import FetchContext
from pipeline.sources.registry import fetch
from tests.sources.fetching import recipe_with
from tests.support.deliveries import Ingested, ingest_delivery

CASES = Path(__file__).parents[1] / "cases"
NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)
SOURCE = 'kind = "csv"\npath = "sales.csv"\nperiod = "month"\nvalue = "sold"\n'
#: enough of what may be thousands or decimals
UNCLEAR = ["1,514", "1,683", "1,773", "1,748", "1,796"]


def ingest(recipe: Recipe) -> Ingested:
    with fetch(recipe, FetchContext(now=NOW)) as delivery:
        return ingest_delivery(delivery, recipe, now=NOW)


def case_recipe(case: str, source: str = "") -> Recipe:
    """The recipe of a case, with more in its table of the source."""
    text = (CASES / case / "recipe.toml").read_text()
    return parse_recipe(f"{text}\n{source}", where="recipe.toml", folder=CASES / case)


def written(folder: Path, content: str | bytes, source: str = "", top: str = "") -> Recipe:
    (folder / "sales.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return recipe_with(SOURCE + source, folder, top=top)


def months(count: int) -> list[str]:
    return [f"{2010 + n // 12}-{n % 12 + 1:02d}-01" for n in range(count)]


def table(values: list[str], delimiter: str = ",") -> str:
    """One row a month; texts with the delimiter are quoted."""
    fields = [f'"{value}"' if delimiter in value else value for value in values]
    rows = [f"{month}{delimiter}{text}\n" for month, text in zip(months(len(values)), fields, strict=True)]
    return f"month{delimiter}sold\n" + "".join(rows)


def read_values(folder: Path, content: str | bytes, source: str = "") -> list[float]:
    return ingest(written(folder, content, source)).values


def refusal(folder: Path, content: str | bytes, source: str = "") -> BatchRefused:
    """The error with which a file is refused where one faulty row is enough."""
    with pytest.raises(BatchRefused) as refused:
        ingest(written(folder, content, f"{source}\nstrict = true"))
    assert "\n" not in str(refused.value)
    return refused.value


@pytest.mark.parametrize("case", ["csv-preamble-lines", "csv-semicolon-decimal-comma"])
def test_the_case_is_ingested_at_the_first_try(case: str) -> None:
    ingested = ingest(case_recipe(case))

    assert (len(ingested.values), min(ingested.values), max(ingested.values)) == (72, 1174.24, 1823.95)
    assert ingested.new["t", "2019-01-01T00:00"] == 1513.82
    assert ingested.rejections == ()


def test_the_case_with_nothing_but_one_comma_and_three_digits_is_asked_for() -> None:
    recipe = case_recipe("csv-thousands-comma")

    with pytest.raises(BatchRefused) as refused:
        ingest(recipe)

    assert str(refused.value) == (
        'data.csv line 2, column sold: "1,514" may be 1514 or 1.514, and no other number decides it: '
        'set source.thousands = "," or source.decimal = "," in the recipe'
    )
    for key, first in [('thousands = ","', 1514), ('decimal = ","', 1.514), ('decimal = "."', 1514)]:
        answered = ingest(case_recipe("csv-thousands-comma", key))
        assert answered.new["t", "2019-01-01T00:00"] == first


CERTAIN = {
    "German": (";", ["1.513,82", "980,5", "12"], [1513.82, 980.5, 12]),
    "German whole numbers in millions": (";", ["1.513.820", "980.500", "12"], [1513820, 980500, 12]),
    "decimal comma without thousands": (";", ["1513,82", "12,5", "980"], [1513.82, 12.5, 980]),
    "decimal comma below one": (";", ["0,125", "1,250", "3,500"], [0.125, 1.25, 3.5]),
    "American with cents": (",", ["1,513.82", "980.50", "12.00"], [1513.82, 980.5, 12]),
    "American millions": (",", ["1,513,820", "980,500", "12"], [1513820, 980500, 12]),
    "American beside cents": (",", ["1,513", "980.50", "12.25"], [1513, 980.5, 12.25]),
    "thousands beside values below 1000": (
        ",",
        ["980", "1,020", "995", "1,514", "870", "1,823"],
        [980, 1020, 995, 1514, 870, 1823],
    ),
    "decimals would be 500 times too small": (",", ["980", "1,021", "995", "870"], [980, 1021, 995, 870]),
    "German beside values below 1000": (";", ["980", "1.020", "995", "870"], [980, 1020, 995, 870]),
    "English with semicolons": (";", ["1513.82", "980.5", "1.514"], [1513.82, 980.5, 1.514]),
    "French with spaces": (";", ["1 234,50", "12,5", "1 234 567,00"], [1234.5, 12.5, 1234567]),
    "French with no-break spaces": (";", ["1\xa0234,50", "12,5", "1\u202f234\u202f567,00"], [1234.5, 12.5, 1234567]),
    "three decimals after spaces": (";", ["1 234,500", "12,500", "0,125"], [1234.5, 12.5, 0.125]),
    "Swiss": (";", ["1'234.50", "12.5", "1’234’567"], [1234.5, 12.5, 1234567]),
    "Indian": (",", ["12,34,567", "98,765", "123"], [1234567, 98765, 123]),
    "spaces and whole numbers": (",", ["1 234", "12 345", "999"], [1234, 12345, 999]),
    "tabs": ("\t", ["1513,82", "980,5", "12"], [1513.82, 980.5, 12]),
    "pipes": ("|", ["1,513.82", "980.5", "12"], [1513.82, 980.5, 12]),
    "euros": (";", ["1.513,82 €", "980,50 €", "12 €"], [1513.82, 980.5, 12]),
    "dollars on some rows": (",", ["$1,513.82", "980.50", "-$12.25"], [1513.82, 980.5, -12.25]),
    "codes": (",", ["EUR 13.82", "980.5 EUR", "12 EUR"], [13.82, 980.5, 12]),
    "percent": (",", ["12.5%", "13 %", "0", "-0.5%"], [12.5, 13, 0, -0.5]),
    "losses of accountants": (",", ["$1,513.82", "($980.50)", "$(12.00)"], [1513.82, -980.5, -12]),
    "minus signs of typesetters": (";", ["−1.513,82", "–12,5", "980"], [-1513.82, -12.5, 980]),
    "exponents": (";", ["1,5e3", "12,25", "980"], [1500, 12.25, 980]),
    "gold, always with three decimals": (",", ["18.930", "18.940", "101.125"], [18.93, 18.94, 101.125]),
    "whole numbers": (";", ["1513", "980", "12"], [1513, 980, 12]),
}


@pytest.mark.parametrize("name", CERTAIN)
def test_numbers_are_read_as_they_are_meant(name: str, tmp_path: Path) -> None:
    delimiter, texts, expected = CERTAIN[name]

    assert read_values(tmp_path, table(texts, delimiter)) == expected


UNCERTAIN = {
    "one comma and three digits": (",", UNCLEAR),
    "one comma and three digits after a semicolon": (";", UNCLEAR),
    "one point and three digits after a semicolon": (";", ["1.514", "1.683", "1.773"]),
    "one point and three digits after a tab": ("\t", ["1.514", "1.683", "1.773"]),
    "one value below 1000, which may be a code for missing": (",", [*UNCLEAR, "999"]),
    "small whole numbers, which may be decimals without their zeros": (",", [*UNCLEAR, "2", "3", "5"]),
    "one typing error among what may be thousands": (",", [*(UNCLEAR * 8), "1,51"]),
    "zeros at the end, and some values with fewer digits": (",", ["1,510", "1,680", "1,770", "1,740", "1,79"]),
    "both marks, each before three digits": (";", ["1,514", "1.683"]),
    "both marks before decimals": (";", ["12,5", "12.5", "13,5", "13.5"]),
    "thousands with and without a mark": (",", [*UNCLEAR, "1514.25", "1683.5"]),
    "points in a series that passes 1000": (",", ["980", "1.020", "995", "1.514", "870", "1.823"]),
}


@pytest.mark.parametrize("name", UNCERTAIN)
def test_what_is_not_certain_is_asked_for_with_the_names_of_the_keys(name: str, tmp_path: Path) -> None:
    delimiter, texts = UNCERTAIN[name]

    error = refusal(tmp_path, table(texts, delimiter))

    assert "source.decimal" in str(error)
    assert [rejection.rule for rejection in error.rejections] == ["number format"]


@pytest.mark.parametrize("name", UNCERTAIN)
@pytest.mark.parametrize("decimal", [".", ","])
def test_the_key_decides_and_no_value_is_read_otherwise(name: str, decimal: str, tmp_path: Path) -> None:
    delimiter, texts = UNCERTAIN[name]
    other = "," if decimal == "." else "."

    source = f'decimal = "{decimal}"\nmax_rejected = 0.9'

    ingested = ingest(written(tmp_path, table(texts, delimiter), source, top="max_gap = 100"))

    read = [float(text.replace(other, "").replace(decimal, ".")) for text in texts]
    rejected = {rejection.text for rejection in ingested.rejections}
    expected = [value for text, value in zip(texts, read, strict=True) if text not in rejected]
    assert ingested.values == expected


def test_a_typing_error_is_one_rejected_row_and_changes_no_other(tmp_path: Path) -> None:
    texts = ["980", "995", "870", *[f"1,{n:03d}" for n in range(100, 199)], "1,51"]

    ingested = ingest(written(tmp_path, table(texts), "max_rejected = 0.05"))

    assert ingested.values == [980, 995, 870, *range(1100, 1199)]
    (rejection,) = ingested.rejections
    assert (rejection.text, rejection.line) == ("1,51", 104)
    assert rejection.rule == 'is not a number: expected digits, "." before decimals and "," between thousands only'


def test_a_mistyped_decimal_comma_stays_one_rejected_row_of_an_ordinary_file(tmp_path: Path) -> None:
    texts = [*(["12.5", "980.25", "1513.8"] * 30), "12,5", "1,514"]

    ingested = ingest(written(tmp_path, table(texts), "max_rejected = 0.05"))

    assert [rejection.text for rejection in ingested.rejections] == ["12,5", "1,514"]
    assert ingested.values == [12.5, 980.25, 1513.8] * 30


def test_parentheses_without_a_currency_may_be_a_remark(tmp_path: Path) -> None:
    error = refusal(tmp_path, table(["12.5", "(13.5)", "14.5"]))

    assert 'line 3, column sold: "(13.5)" is in parentheses: a negative number or a remark?' in str(error)


@pytest.mark.parametrize(("other", "shown"), [("0.13", "no unit"), ("$13", 'the unit "$"')])
def test_a_value_of_another_unit_is_rejected(tmp_path: Path, other: str, shown: str) -> None:
    error = refusal(tmp_path, table(["12.5%", other, "14.5%"]))

    assert f'line 3, column sold: "{other}" has {shown}, most rows have the unit "%"' in str(error)


def test_in_a_panel_sizes_of_different_series_prove_nothing(tmp_path: Path) -> None:
    rows = [f'{month},"{text}",{shop}\n' for shop, text in [("a", "980"), ("b", "1,510")] for month in months(5)]

    error = refusal(tmp_path, "month,sold,shop\n" + "".join(rows), 'series = "shop"')

    assert 'line 7, column sold: "1,510" may be 1510 or 1.510' in str(error)


def test_another_column_of_numbers_can_decide(tmp_path: Path) -> None:
    rows = [f'{month},"{text}",12.25\n' for month, text in zip(months(5), UNCLEAR, strict=True)]
    (tmp_path / "sales.csv").write_text("month,sold,price\n" + "".join(rows))
    recipe = recipe_with(SOURCE + '[covariates]\npast = ["price"]', tmp_path)

    ingested = ingest(recipe)

    assert ingested.new["small", "2010-01-01T00:00"] == 1514


def test_a_wide_table_is_read_with_its_decimals(tmp_path: Path) -> None:
    content = "Stand: 2024;;\n\nmonth;a;b\n2020-01-01;1,5;1.513,25\n2020-02-01;2,5;980\n"
    (tmp_path / "sales.csv").write_text(content)
    recipe = recipe_with('kind = "csv"\npath = "sales.csv"\nlayout = "wide"\nperiod = "month"', tmp_path)

    assert ingest(recipe).values == [1.5, 2.5, 1513.25, 980]


ROWS = "2020-01-01,1.5\n2020-02-01,2.5\n"
PREAMBLES = {
    "World Bank": '"Data Source","World Development Indicators",\n\n"Last Updated Date","2024-06-28",\n\n',
    "a title": "Sales of all shops\n",
    "a comment": "# written by the till, in pieces\n#\n",
    "an odd quote": 'Pipes of 5"\n\n',
    "a table of facts": "shop,month\nBerlin,all\n\n",
    "more fields than columns": "a,b,c,d,e,f\n",
    "blank fields": ",,,,\n,,,,\n",
}


@pytest.mark.parametrize("name", PREAMBLES)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_the_header_is_the_first_line_with_all_columns(name: str, ends: str, tmp_path: Path) -> None:
    preamble = PREAMBLES[name]
    content = (preamble + "month,sold\n" + ROWS + "2020-03-01,many\n").replace("\n", ends)

    error = refusal(tmp_path, content)

    line = preamble.count("\n") + 4
    assert f'sales.csv line {line}, column sold: "many" is not a number' in str(error)


def test_blanks_around_the_names_of_columns_do_not_matter(tmp_path: Path) -> None:
    assert read_values(tmp_path, "all shops\n month ;\tsold \n2020-01-01;1,5\n") == [1.5]


def test_skip_rows_counts_the_lines_before_the_header(tmp_path: Path) -> None:
    content = "month,sold,old\n1,2,3\n\nmonth,sold\n" + ROWS

    assert read_values(tmp_path, content, "skip_rows = 2") == [1.5, 2.5]
    assert "has no column" in str(refusal(tmp_path, content, "skip_rows = 4"))


FOOTERS = {
    "a source": "Source: World Bank\n",
    "a source with commas": "Source: World Bank, 2024, own work\n",
    "a total": "Total,4.0\n",
    "a German total": "Summe,4.0\n",
    "remarks after a blank line": "\nAll values are provisional\nData of the tills\n",
    "remarks after blank fields": ",\n,\nData from database: World Development Indicators,\nLast Updated: 06/28/2024,\n",
    "a total and a source, no newline at the end": "Total,4.0\n\n* estimated\nSource: tills",
    "a copyright": "© 2024 Example Ltd\n",
}


@pytest.mark.parametrize("name", FOOTERS)
@pytest.mark.parametrize("quote", ["", '"'])
def test_what_says_that_it_is_no_row_ends_the_rows(
    name: str, quote: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    footer = FOOTERS[name]
    caplog.set_level(logging.INFO)

    ingested = ingest(written(tmp_path, f"month,{quote}sold{quote}\n" + ROWS + footer))

    num_lines = sum(bool(line.strip(",")) for line in footer.splitlines())
    assert ingested.values == [1.5, 2.5]
    assert ingested.rejections == ()
    assert f"{num_lines} line{'s' * (num_lines > 1)} after the rows left out" in caplog.text


def test_a_total_of_all_series_has_no_period(tmp_path: Path) -> None:
    content = "shop,month,sold\na,2020-01-01,1\nTotal,2020-01-01,2\nTotal,,3\n"
    (tmp_path / "sales.csv").write_text(content)

    assert ingest(recipe_with(SOURCE + 'series = "shop"', tmp_path)).values == [2, 1]


@pytest.mark.parametrize(
    "ending",
    ["2020-03-0", "2020-03-01", "2020-03-01,", "Berlin", "\n2020-03", "Total 2020,4.0\n"],
    ids=["in the period", "before the delimiter", "before the value", "in a word", "after a blank line", "with a year"],
)
def test_what_may_be_a_row_that_was_cut_is_no_footer(ending: str, tmp_path: Path) -> None:
    error = refusal(tmp_path, "month,sold\n" + ROWS + ending)

    assert len(error.rejections) == 1
    assert error.rejections[0].line in (4, 5)


def test_skip_footer_counts_lines_that_are_not_blank(tmp_path: Path) -> None:
    content = "month,sold\n" + ROWS + "\nBerlin 2020-2024\nHamburg 2021-2024\n\n"

    assert read_values(tmp_path, content, "skip_footer = 2") == [1.5, 2.5]
    assert len(refusal(tmp_path, content, "skip_footer = 1").rejections) == 1
    assert read_values(tmp_path, "month,sold\n" + ROWS + "Total,4\n", "skip_footer = 2") == [1.5]


GERMAN = "Überschrift\nmonth;sold;größe\n2020-01-01;1,5;groß\n2020-02-01;2,5;klein\n"


@pytest.mark.parametrize(
    ("encoding", "source"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("utf-32", ""),
        ("utf-16-le", 'encoding = "utf-16-le"'),
        ("cp1252", 'encoding = "cp1252"'),
        ("latin-1", 'encoding = "latin-1"'),
        ("utf-8-sig", 'encoding = "utf-8"'),
    ],
)
def test_texts_of_other_encodings_are_read(encoding: str, source: str, tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_bytes(GERMAN.encode(encoding))
    recipe = recipe_with(SOURCE + f'series = "größe"\n{source}', tmp_path)

    assert ingest(recipe).new == {("groß", "2020-01-01T00:00"): 1.5, ("klein", "2020-02-01T00:00"): 2.5}


def test_a_big_endian_text_with_its_mark_is_read(tmp_path: Path) -> None:
    assert read_values(tmp_path, "\ufeffmonth,sold\n2020-01-01,1\n".encode("utf-16-be")) == [1]


def test_bytes_that_are_not_utf_8_are_named_with_their_line_and_the_key(tmp_path: Path) -> None:
    error = refusal(tmp_path, GERMAN.encode("cp1252"))

    assert str(error) == (
        "sales.csv is not UTF-8: byte 0xdc at offset 0 in line 1; "
        'save it as UTF-8, or set source.encoding, such as "cp1252"'
    )


@pytest.mark.parametrize(
    ("content", "source", "message"),
    [
        (
            b"month,sold\n2020-01-01,1\n" + b"\x81",
            'encoding = "cp1252"',
            "sales.csv is not cp1252: byte 0x81 at offset 24 in line 3",
        ),
        ("month,sold\n2020-01-01,1\n".encode("utf-16")[:-1], "", "sales.csv is not utf-16: byte 0x0a at offset 48"),
        ("\ufeffmonth,sold\n".encode(), 'encoding = "cp1252"', "begins with the byte order mark of utf-8"),
        ("month,sold\n2020-01-01,1\0\n".encode("utf-16"), "", "holds a NUL byte at offset 23"),
        (
            GERMAN.encode(),
            'encoding = "cp1252"',
            "sales.csv is UTF-8, the recipe's source.encoding is cp1252: leave the key out",
        ),
    ],
)
def test_a_text_that_is_not_of_its_encoding_is_refused(
    content: bytes, source: str, message: str, tmp_path: Path
) -> None:
    assert message in str(refusal(tmp_path, content, source))


def test_a_missing_column_is_reported_with_the_columns_and_the_dialect(tmp_path: Path) -> None:
    content = "Umsatz der Filialen\n\nMonat;Verkauft\n2020-01-01;1,5\n2020-02-01;2,5\n"

    assert str(refusal(tmp_path, content)) == (
        'sales.csv has no column "month": expected month, sold, found Monat, Verkauft '
        '(delimiter ";", encoding utf-8, header in line 3)'
    )


def test_what_was_detected_is_logged_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    ingest(written(tmp_path, "All shops\n" + table(["1.513,82", "12,5"], ";") + "Summe;1.526,32\n"))

    assert caplog.messages == [
        'sales.csv is read with delimiter ";", decimal ",", thousands ".", encoding utf-8, header in line 2, '
        "1 line after the rows left out"
    ]


def test_of_an_ordinary_file_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    ingest(written(tmp_path, table(["1.5", "2", "3.25"])))

    assert caplog.messages == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('delimiter = "x"', "source.delimiter is 'x': expected one sign, such as ;"),
        ('delimiter = "\\""', "expected one sign"),
        ('delimiter = "::"', "source.delimiter"),
        ('decimal = ";"', "source.decimal"),
        ('thousands = "_"', "source.thousands"),
        ('decimal = ","\nthousands = ","', "source.decimal and source.thousands are the same"),
        ('encoding = "klingon"', 'source.encoding is "klingon": expected a name such as cp1252 or utf-16'),
        ('encoding = "rot13"', 'source.encoding is "rot13"'),
        ('encoding = "idna"', 'source.encoding is "idna"'),
        ("skip_rows = -1", "source.skip_rows"),
        ("skip_footer = 1.5", "source.skip_footer"),
    ],
)
def test_a_key_that_cannot_be_meant_is_refused_in_one_line(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe) as invalid:
        recipe_with(SOURCE + source, tmp_path)

    assert message in str(invalid.value)
    assert "\n" not in str(invalid.value)


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_keys_of_tables_are_refused_beside_json(form: str, tmp_path: Path) -> None:
    source = f'kind = "http"\nurl = "https://example.org"\nperiod = "p"\nvalue = "v"\nformat = "{form}"\ndecimal = ","'

    with pytest.raises(InvalidRecipe, match='source.decimal is for format = "csv"'):
        recipe_with(source, tmp_path)


def test_files_of_one_pattern_may_have_different_delimiters(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("month;sold\n2020-01-01;1.5\n2020-02-01;1513.25\n")
    (tmp_path / "b.csv").write_text("Title\nmonth,sold\n2020-03-01,2.5\n")
    recipe = recipe_with(SOURCE.replace("sales.csv", "*.csv"), tmp_path)

    assert ingest(recipe).values == [1.5, 1513.25, 2.5]


def test_the_first_line_in_which_excel_names_the_delimiter_is_no_header(tmp_path: Path) -> None:
    assert read_values(tmp_path, "sep=;\nmonth;sold\n2020-01-01;1,5\n") == [1.5]


def test_unicode_text_of_excel_is_read(tmp_path: Path) -> None:
    content = "month\tsold\r\n2020-01-01\t1.513,82\r\n2020-02-01\t980\r\n"

    assert read_values(tmp_path, content.encode("utf-16")) == [1513.82, 980]


def test_fields_are_quoted_with_any_delimiter(tmp_path: Path) -> None:
    content = '"month";"sold";"note"\n"2020-01-01";"1.513,82";"a; b"\n"2020-02-01";"980,00";"two\nlines"\n'

    assert read_values(tmp_path, content) == [1513.82, 980]


def test_blanks_may_stand_between_a_delimiter_and_a_quote(tmp_path: Path) -> None:
    content = 'month, "sold", note\n2020-01-01, "1,513.82", "a, b"\n2020-02-01, "980.5", c\n'

    assert read_values(tmp_path, content) == [1513.82, 980.5]


def test_a_decimal_comma_without_quotes_is_recognised(tmp_path: Path) -> None:
    error = refusal(tmp_path, "month,sold\n2020-01-01,1513,82\n2020-02-01,980,5\n")

    assert 'line 2: "2020-01-01,1513,82" has 3 of 2 columns (is a text or a decimal comma not quoted?)' in str(error)


def test_a_delimiter_at_the_end_of_all_lines_is_an_unnamed_column(tmp_path: Path) -> None:
    assert read_values(tmp_path, "month;sold;\n2020-01-01;1,5;\n2020-02-01;2,5;\n") == [1.5, 2.5]


def test_a_column_may_be_named_with_another_delimiter(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text('month;"sold, pieces"\n2020-01-01;1,5\n')

    assert ingest(recipe_with(SOURCE.replace('"sold"', '"sold, pieces"'), tmp_path)).values == [1.5]


WRITERS = [
    # delimiter, before decimals, between thousands
    *((delimiter, ".", thousands) for delimiter in ",;\t|" for thousands in ("", ",", " ", "'")),
    *((delimiter, ",", thousands) for delimiter in ",;\t|" for thousands in ("", " ")),
    *((delimiter, ",", ".") for delimiter in ";\t|"),
]


def write_number(value: Decimal, decimal: str, thousands: str) -> str:
    return f"{value:,f}".translate({ord(","): thousands, ord("."): decimal})


def read_or_ask(recipe: Recipe) -> list[float] | str:
    """The values in order, or the rule for which all of them are refused."""
    try:
        return ingest(recipe).values
    except BatchRefused as refused:
        return ", ".join(rejection.rule for rejection in refused.rejections)


@given(
    writer=st.sampled_from(WRITERS),
    whole=st.lists(st.integers(-3_000_000, 3_000_000) | st.integers(-2000, 2000), min_size=1, max_size=30),
    places=st.integers(0, 4),
    is_trimmed=st.booleans(),
)
@settings(max_examples=500, deadline=None)
def test_whatever_is_written_is_read_or_asked_for_and_never_read_wrongly(
    tmp_path_factory: pytest.TempPathFactory,
    writer: tuple[str, str, str],
    whole: list[int],
    places: int,
    is_trimmed: bool,
) -> None:
    delimiter, decimal, thousands = writer
    values = [Decimal(number).scaleb(-places) for number in whole]
    if is_trimmed:
        values = [value.normalize() for value in values]
        # hundreds without decimals beside a value of three: documented as thousands
        assume(len({value for value in values if value == value.to_integral() and 100 <= abs(value) < 1000}) < 3)
    texts = [write_number(value, decimal, thousands) for value in values]

    read = read_or_ask(written(tmp_path_factory.getbasetemp(), table(texts, delimiter)))

    assert read in ("number format", [float(value) for value in values])
