"""Files that a recipe's path names, on a local disk or in an object store.

Local paths are listed with `pathlib` and not with fsspec: importing fsspec takes about a third of a second
in every run, and its `glob` also returns hidden files.
"""

from __future__ import annotations

import glob
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.config.recipe import Recipe
from pipeline.config.sources import CsvSource, ExcelSource, ParquetSource
from pipeline.errors import SourceMissing, SourceUnavailable
from pipeline.sources.environment import VARIABLE, read_variable
from pipeline.sources.file import File, detect_compression, fixed_folder, hint_suffix, missing_file_error

FileSource = CsvSource | ExcelSource | ParquetSource

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
_USE_HTTP = 'use kind = "http" for an address'
#: schemes that are no object store, and what to do instead
_ADVICE = {"file": "write the path without file://", "http": _USE_HTTP, "https": _USE_HTTP}


@contextmanager
def find_files(recipe: Recipe, source: FileSource, what: str) -> Iterator[tuple[File, ...]]:
    """Give the files of the recipe's path, sorted by name; they can be read until the context manager exits.

    Args:
        recipe: its folder is where relative paths start.
        source: the recipe's source.
        what: kind of file for messages, such as "CSV file".

    Raises:
        SourceMissing: there is no such file, or a variable in the path is not set.
        SourceUnavailable: the disk or the object store does not answer.
    """
    path = _fill_path(recipe, source)
    scheme = _SCHEME.match(path)
    if scheme is None:
        yield _find_local_files(path, recipe, source, what)
        return
    _refuse_other_schemes(scheme[1].lower(), recipe)
    from pipeline.sources.object_store import download_objects

    with download_objects(path, recipe, source, what) as files:
        yield files


def _fill_path(recipe: Recipe, source: FileSource) -> str:
    def value_of(match: re.Match[str]) -> str:
        value = read_variable(match[1])
        if not value:
            raise SourceMissing(
                f"the recipe {recipe.name} reads the file that {match[1]} names, which is not set" + hint_suffix(source)
            )
        return value

    return VARIABLE.sub(value_of, source.path)


def _refuse_other_schemes(scheme: str, recipe: Recipe) -> None:
    if scheme in _ADVICE:
        raise SourceMissing(
            f"source.path of the recipe {recipe.name} begins with {scheme}://: {_ADVICE[scheme]}"
            + hint_suffix(recipe.source)
        )


def _find_local_files(path_text: str, recipe: Recipe, source: FileSource, what: str) -> tuple[File, ...]:
    path = _absolute_path(path_text, recipe, source)
    try:
        if glob.has_magic(str(path)) and not path.exists():
            return _match_pattern(path, recipe, what)
        return (_find_file(path, recipe, what),)
    except ValueError as error:
        raise SourceMissing(f'"{path}" is no path: {error}{hint_suffix(source)}') from None
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be read: {error.strerror}") from None


def _absolute_path(path_text: str, recipe: Recipe, source: FileSource) -> Path:
    """Return the path; a relative one starts at the recipe, or at the working folder if a variable named it."""
    try:
        path = Path(path_text).expanduser()
    except RuntimeError as error:
        raise SourceMissing(f'"{path_text}" is no path: {error}{hint_suffix(source)}') from None
    return path if source.path.startswith("${") else recipe.folder / path


def _find_file(path: Path, recipe: Recipe, what: str) -> File:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise missing_file_error(str(path), recipe, what) from None
    if stat.S_ISDIR(mode):
        raise SourceMissing(f"{path} is a folder: expected a {what}" + hint_suffix(recipe.source))
    if not stat.S_ISREG(mode):
        raise SourceMissing(f"{path} is a device or a pipe: expected a {what}" + hint_suffix(recipe.source))
    return File(path=path, name=path.name, compression=detect_compression(path.name))


def _match_pattern(pattern: Path, recipe: Recipe, what: str) -> tuple[File, ...]:
    """Return the regular files of a pattern, without hidden ones; `**` stands for any number of folders."""
    folder = fixed_folder(pattern)
    matches = folder.glob(pattern.relative_to(folder).as_posix())
    paths = {path.relative_to(folder) for path in matches if path.is_file()}
    names = sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))
    if not names:
        raise missing_file_error(str(pattern), recipe, what)
    return tuple(
        File(path=folder / name, name=name, relative_path=name, compression=detect_compression(name)) for name in names
    )
