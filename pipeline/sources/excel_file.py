"""Excel files as a source: the cells of one sheet with their types, and numbers that are written as text.

openpyxl reads row by row. Libraries that give a sheet as one rectangle would take all memory for two far-off cells.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
import zipfile
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import partial
from importlib.util import find_spec
from itertools import islice
from typing import Any, NoReturn

import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.config.sources import ExcelSource
from pipeline.errors import SourceMissing, SourceUnavailable
from pipeline.sources.arrow_spool import to_column
from pipeline.sources.columns import find_repeated_column, named_columns, number_columns, rows_per_chunk, select_columns
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
from pipeline.sources.dialect import MAX_FOOTER_ROWS, MAX_PREAMBLE_LINES, count_footer, count_last
from pipeline.sources.file import (
    File,
    FileStamp,
    delivery_name,
    file_stamp,
    hash_files,
    refuse,
    refuse_too_large,
    require_unchanged,
    start_hash,
)
from pipeline.sources.files import find_files
from pipeline.sources.number_evidence import NumberEvidence, UnclearNumbers
from pipeline.sources.number_format import NumberFormat
from pipeline.sources.text import MAX_RATIO, MIN_RATIO_BYTES

logger = logging.getLogger(__name__)

#: rows of a sheet, which Excel allows no more of
MAX_ROWS = 1_048_576
#: cells that are kept in memory
MAX_CELLS = 10_000_000
#: parts of a file besides sheets and texts, which are read as a whole
MAX_PART_BYTES = 64 << 20
_ROW_BY_ROW = ("xl/worksheets/", "xl/sharedStrings.xml")
_BLOCK_BYTES = 1 << 20
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
#: what Excel shows in place of a value that is not available
_NOT_AVAILABLE = "#N/A"

Row = tuple[Any, ...]


@contextmanager
def fetch_excel(recipe: Recipe, source: ExcelSource, context: FetchContext) -> Iterator[Delivery]:
    """Deliver all rows of one sheet of each of the recipe's files.

    Raises:
        SourceMissing: there is no such file, a variable in its path is not set, or openpyxl is not installed.
        SourceUnavailable: a file cannot be read right now.
        BatchRefused: a file is no Excel file, is too large, or it is not clear what to read of it.
    """
    _require_openpyxl()
    with find_files(recipe, source, "Excel file") as files:
        stamps = [file_stamp(file.path) for file in files]
        hashes = [_hash_content(file, source) for file in files]
        for file in files:
            _check_sizes(file, source)
        yield Delivery(
            source=delivery_name(files, source.path),
            content_hash=hash_files(source, files, hashes),
            chunks=partial(_read_files, files, stamps, recipe, source),
        )


def _require_openpyxl() -> None:
    if find_spec("openpyxl") is None:
        raise SourceMissing(
            "the source of the recipe needs openpyxl, which is not installed: pip install nextperiod[excel]"
        )


def _hash_content(file: File, source: ExcelSource) -> hashlib._Hash:
    content_hash = start_hash(source)
    try:
        with file.path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                content_hash.update(block)
    except OSError as error:
        raise SourceUnavailable(f"{file.path} cannot be read: {error.strerror}") from None
    return content_hash


def _check_sizes(file: File, source: ExcelSource) -> None:
    """Refuse a file that is no archive, or one that is too large when it is unpacked; zipfile never unpacks more."""
    try:
        with zipfile.ZipFile(file.path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError):
        with file.path.open("rb") as stream:
            is_old = stream.read(4) == _OLD_EXCEL
        hint = "it is an old or an encrypted Excel file" if is_old else "it may be cut"
        refuse(
            file.name, f"is no .xlsx file that can be read, {hint}: save it as .xlsx without a password", "not excel"
        )
    num_bytes = sum(part.file_size for part in parts)
    if num_bytes > source.max_gib * 2**30:
        refuse_too_large(file.name, source.max_gib)
    others = [part.file_size for part in parts if not part.filename.startswith(_ROW_BY_ROW)]
    is_bomb = num_bytes > max(MIN_RATIO_BYTES, MAX_RATIO * file.path.stat().st_size)
    if is_bomb or max(others, default=0) > MAX_PART_BYTES:
        refuse(file.name, "unpacks to far more than an Excel file does: this looks like an attack", "too large")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sheet:
    """The table in a sheet: its header, its rows below it, and the row of the sheet that each of them is."""

    name: str
    header: list[str]
    header_row: int
    positions: list[int]
    rows: list[Row]  # the selected cells
    numbers: list[int]


def _read_files(
    files: Sequence[File], stamps: Sequence[FileStamp], recipe: Recipe, source: ExcelSource
) -> Iterator[Chunk]:
    num_rows = 0
    for file, stamp in zip(files, stamps, strict=True):
        with require_unchanged(file, stamp):
            sheet = _read_sheet(file, recipe, source)
        num_rows += len(sheet.rows)
        yield from _to_chunks(sheet, file, recipe, source)
    if num_rows == 0 and source.on_empty != "keep":
        name = delivery_name(files, source.path)
        refuse(name, f"holds a header and no rows: expected rows with {', '.join(named_columns(recipe))}", "no rows")


def _read_sheet(file: File, recipe: Recipe, source: ExcelSource) -> _Sheet:
    with _open_workbook(file, with_formulas=False) as workbook:
        worksheet = _find_worksheet(workbook, file, recipe, source)
        header_row, cells = _find_header(worksheet, file, recipe, source)
        header = [_to_name(cell) for cell in cells]
        _check_header(header, header_row, file, recipe)
        positions = [position for position in select_columns(header, recipe) if header[position]]
        rows, numbers = _collect_rows(worksheet, file, header, header_row, positions, source)
    sheet = _Sheet(
        name=worksheet.title, header=header, header_row=header_row, positions=positions, rows=rows, numbers=numbers
    )
    _refuse_formulas_without_values(sheet, file)
    if header_row > 1 or len(workbook.sheetnames) > 1:
        logger.info('%s is read from the sheet "%s", header in row %s', file.name, sheet.name, header_row)
    return sheet


@contextmanager
def _open_workbook(file: File, *, with_formulas: bool) -> Iterator[Any]:
    """Open a file; warnings about parts that are not read, such as validations and styles, are not shown."""
    from openpyxl import load_workbook

    with file.path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            workbook = load_workbook(stream, read_only=True, data_only=not with_formulas, keep_links=False)
        except Exception as error:
            _refuse_content(file, error)
        try:
            yield workbook
        finally:
            workbook.close()


def _refuse_content(file: File, error: Exception) -> NoReturn:
    """Refuse a file about whose content openpyxl raised an error, which may be of any kind."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    refuse(file.name, f"is no .xlsx file that can be read: {reason}; it may be cut", "not excel")


def _find_worksheet(workbook: Any, file: File, recipe: Recipe, source: ExcelSource) -> Any:
    """Return the sheet that the recipe names, or the only visible one that has a header with all named columns."""
    sheets = {sheet.title: sheet for sheet in workbook.worksheets}
    if source.sheet is not None:
        if source.sheet not in sheets:
            shown = ", ".join(f'"{name}"' for name in sheets)
            refuse(file.name, f'has no sheet "{source.sheet}": expected source.sheet, found {shown}', "sheet")
        return sheets[source.sheet]
    visible = [sheet for sheet in sheets.values() if sheet.sheet_state == "visible"]
    fitting = [sheet for sheet in visible if _has_header(sheet, file, recipe, source)] if len(visible) > 1 else visible
    if len(fitting) > 1:
        shown = ", ".join(f'"{sheet.title}"' for sheet in fitting)
        refuse(file.name, f"has the named columns in the sheets {shown}: set source.sheet to one of them", "sheet")
    if not visible:
        refuse(file.name, "has no visible sheet: set source.sheet", "sheet")
    return (fitting or visible)[0]


def _has_header(sheet: Any, file: File, recipe: Recipe, source: ExcelSource) -> bool:
    _, cells = _find_header(sheet, file, recipe, source)
    return set(named_columns(recipe)) <= {_to_name(cell) for cell in cells}


def _find_header(sheet: Any, file: File, recipe: Recipe, source: ExcelSource) -> tuple[int, Row]:
    """Return the first row that holds all named columns; if none does, the first that is as long as most rows are."""
    wanted, candidates = set(named_columns(recipe)), []
    for number, row in _iterate_rows(sheet, file):
        if number <= (source.skip_rows or 0) or not any(map(_is_filled, row)):
            continue
        names = [_to_name(cell) for cell in row]
        candidates.append((number, row, sum(map(bool, names))))
        if wanted <= set(names) and candidates[-1][2] > 1:
            return number, row
        if source.skip_rows is not None or len(candidates) >= MAX_PREAMBLE_LINES:
            break
    if not candidates:
        refuse(file.name, f'has no cells in the sheet "{sheet.title}": expected a header and rows', "empty")
    ((usual, _),) = Counter(length for _, _, length in candidates).most_common(1)
    return next((number, row) for number, row, length in candidates if length == usual)


def _iterate_rows(sheet: Any, file: File) -> Generator[tuple[int, Row], None, None]:
    """Yield the rows of a sheet with their numbers, as far as their own last cells."""
    sheet.reset_dimensions()  # a file may claim any size
    rows, num_cells = enumerate(sheet.iter_rows(values_only=True), start=1), 0
    while True:
        try:
            number, row = next(rows, (0, ()))
        except Exception as error:
            _refuse_content(file, error)
        if number == 0:
            return
        num_cells += len(row)
        if number > MAX_ROWS or num_cells > 20 * MAX_CELLS:
            refuse(file.name, f'has more rows or cells in the sheet "{sheet.title}" than can be read', "too large")
        yield number, row


def _check_header(header: Sequence[str], header_row: int, file: File, recipe: Recipe) -> None:
    repeated = find_repeated_column([name for name in header if name], recipe)
    if repeated is not None:
        name, count = repeated
        refuse(file.name, f'names the column "{name}" {count} times: expected it once', "column twice", header_row)


def _collect_rows(
    sheet: Any, file: File, header: Sequence[str], header_row: int, positions: Sequence[int], source: ExcelSource
) -> tuple[list[Row], list[int]]:
    """Return the selected cells of the rows below the header, without blank rows and footer, and the rows' numbers."""
    rows: list[Row] = []
    numbers: list[int] = []
    last_rows: deque[Row] = deque(maxlen=MAX_FOOTER_ROWS)  # whole rows, blank ones too
    for number, row in _iterate_rows(sheet, file):
        if number <= header_row:
            continue
        last_rows.append(row)
        if any(map(_is_filled, row)):
            rows.append(tuple(row[position] if position < len(row) else None for position in positions))
            numbers.append(number)
        if len(rows) * len(positions) > MAX_CELLS:
            refuse(file.name, f"has more than {MAX_CELLS:,} cells to read: save it as CSV", "too large")
    last_rows.reverse()
    length = _count_footer(last_rows, header, source)
    num_footer_rows = sum(any(map(_is_filled, row)) for row in islice(last_rows, length))
    if num_footer_rows:
        logger.info("%s: %s rows after the data are left out", file.name, num_footer_rows)
    kept = len(rows) - num_footer_rows
    return rows[:kept], numbers[:kept]


def _count_footer(rows: Iterable[Row], header: Sequence[str], source: ExcelSource) -> int:
    texts = [["" if cell is None else str(cell).strip() for cell in row] for row in rows]
    if source.skip_footer is not None:
        return count_last(["".join(fields) for fields in texts], source.skip_footer)
    return count_footer(texts, header.index(source.period) if source.period in header else 0)


def _refuse_formulas_without_values(sheet: _Sheet, file: File) -> None:
    """Refuse a formula whose result is not stored: a cell that looks empty would hide a value."""
    empty = {
        number: [position for position, cell in zip(sheet.positions, row, strict=True) if cell is None]
        for number, row in zip(sheet.numbers, sheet.rows, strict=True)
        if None in row
    }
    if not empty:
        return
    with _open_workbook(file, with_formulas=True) as workbook:
        for number, row in _iterate_rows(workbook[sheet.name], file):
            for position in empty.get(number, ()):
                if position < len(row) and row[position] is not None:
                    refuse(
                        file.name,
                        f"row {number}, column {sheet.header[position]} holds a formula without its result: "
                        "open the file in Excel and save it",
                        "formula",
                        number,
                    )


def _to_chunks(sheet: _Sheet, file: File, recipe: Recipe, source: ExcelSource) -> Iterator[Chunk]:
    names = [sheet.header[position] for position in sheet.positions]
    columns = [[_to_value(row[position]) for row in sheet.rows] for position in range(len(names))]
    with_numbers = [names.index(name) for name in number_columns(recipe, names) if name in names]
    numbers = _detect_numbers([columns[n] for n in with_numbers], [names[n] for n in with_numbers], sheet, file, recipe)
    for n in with_numbers:
        columns[n] = [_to_number(cell, numbers) for cell in columns[n]]
    batch = pa.RecordBatch.from_arrays([_to_arrow(column) for column in columns], names=names)
    lines = pa.array(sheet.numbers, pa.int64()).to_numpy()
    step = rows_per_chunk(len(names))
    for start in range(0, max(1, batch.num_rows), step):
        yield Chunk(columns=batch.slice(start, step), line=lines[start : start + step], file=file.relative_path)


def _detect_numbers(
    columns: Sequence[Sequence[Any]], names: Sequence[str], sheet: _Sheet, file: File, recipe: Recipe
) -> NumberFormat:
    """Return how numbers are written that are stored as text."""
    source = recipe.source
    assert isinstance(source, ExcelSource)
    evidence = NumberEvidence(is_one_series=source.layout == "long" and source.series is None)
    for column, name in zip(columns, names, strict=True):
        texts = [(cell, number) for cell, number in zip(column, sheet.numbers, strict=True) if isinstance(cell, str)]
        if texts:
            evidence.add(pa.array([text for text, _ in texts], pa.string()), name, [number for _, number in texts])
    try:
        return evidence.decide(decimal=source.decimal, thousands=source.thousands, delimiter="")
    except UnclearNumbers as unclear:
        place = unclear.place
        where = f"row {place.line}, column {place.column}: " if place else ""
        refuse(file.name, f"{where}{unclear}", "number format", place.line if place else None)


def _to_number(cell: Any, numbers: NumberFormat) -> Any:
    """Return a text that is a number as that number, and everything else as it is."""
    plain = numbers.to_plain(cell) if isinstance(cell, str) else None
    return cell if plain is None else float(plain)


def _to_value(cell: Any) -> Any:
    """Return a cell as a value, without blanks around a text; None for one that is empty or not available."""
    if isinstance(cell, str):
        text = cell.strip()
        return None if text in ("", _NOT_AVAILABLE) else text
    return str(cell) if isinstance(cell, time) else cell


def _to_arrow(cells: Sequence[Any]) -> pa.Array:
    """Return a column; where dates stand beside texts, days are written as dates."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds > {datetime} and _are_days(cells):
        cells = [cell.date() if isinstance(cell, datetime) else cell for cell in cells]
    column = to_column(cells)
    return pa.nulls(len(cells), pa.string()) if pa.types.is_null(column.type) else column


def _are_days(cells: Sequence[Any]) -> bool:
    return all(cell.time() == time() for cell in cells if isinstance(cell, datetime))


def _to_name(cell: Any) -> str:
    """Return a cell of the header as a name."""
    if isinstance(cell, datetime) and cell.time() == time():
        cell = cell.date()
    if isinstance(cell, date):
        return cell.isoformat()
    return "" if cell is None else str(cell).strip()


def _is_filled(cell: Any) -> bool:
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))
