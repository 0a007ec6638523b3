"""One file of a source: its compression, its hash, and the check that it does not change while it is read."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Literal, NoReturn, TypeVar

from pipeline.config.recipe import Recipe
from pipeline.config.sources import Source
from pipeline.errors import BatchRefused, Rejection, SourceMissing, SourceUnavailable
from pipeline.sources.columns import named_columns

PathT = TypeVar("PathT", bound=PurePath)

Compression = Literal["", "gzip", "zstd"]

#: device, inode, size and modification time of a file: one of them changes when the file does
FileStamp = tuple[int, int, int, int]

_SUFFIXES: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file that a source reads."""

    path: Path
    #: its name in messages
    name: str
    #: path below the fixed folder of a pattern; None if the recipe names one file
    relative_path: str | None = None
    compression: Compression = ""


def detect_compression(name: str) -> Compression:
    """Return the compression that the suffix of a file's name stands for."""
    return _SUFFIXES.get(PurePosixPath(name.lower()).suffix, "")


def fixed_folder(pattern: PathT) -> PathT:
    """Return the part of a path before its first component with a wildcard."""
    parts = pattern.parts
    num_fixed = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return type(pattern)(*parts[:num_fixed])


def missing_file_error(shown: str, recipe: Recipe, what: str) -> SourceMissing:
    """Return the error for a file that does not exist; `what` names its kind, such as "CSV file"."""
    return SourceMissing(
        f"there is no file {shown}: expected a {what} with the columns {', '.join(named_columns(recipe))}"
        + hint_suffix(recipe.source)
    )


def hint_suffix(source: Source) -> str:
    """Return the end of a message that says where to get the data; empty if the recipe does not say it."""
    return f"; {source.hint}" if source.hint else ""


def file_stamp(path: Path) -> FileStamp:
    """Return a value that changes when the file does."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def require_unchanged(file: File, stamp: FileStamp) -> Iterator[None]:
    """Check on entry and on exit that the file still has its stamp.

    Raises:
        SourceUnavailable: it was written to.
    """
    _check_stamp(file, stamp)
    yield
    _check_stamp(file, stamp)


def _check_stamp(file: File, stamp: FileStamp) -> None:
    try:
        is_unchanged = file_stamp(file.path) == stamp
    except OSError:
        is_unchanged = False
    if not is_unchanged:
        raise changed_file_error(file.name)


def changed_file_error(name: str) -> SourceUnavailable:
    """Return the error for a file that another process writes to."""
    return SourceUnavailable(f"{name} was changed while it was read: expected a file that is written once")


def start_hash(source: Source) -> hashlib._Hash:
    """Return a content hash that holds the source's settings and takes the content next."""
    return hashlib.sha256(source.settings.encode() + b"\0")


def hash_files(source: Source, files: Sequence[File], hashes: Sequence[hashlib._Hash]) -> str:
    """Return the content hash of all files, from the hash of each.

    The files of a pattern count with their relative paths; one file counts by its content alone.
    """
    if _is_single(files):
        return hashes[0].hexdigest()
    combined = start_hash(source)
    for file, content_hash in zip(files, hashes, strict=True):
        combined.update(f"{file.relative_path}\0".encode() + content_hash.digest())
    return combined.hexdigest()


def delivery_name(files: Sequence[File], path: str) -> str:
    """Return the name of a delivery: that of the one file, or the recipe's pattern."""
    return files[0].name if _is_single(files) else path


def _is_single(files: Sequence[File]) -> bool:
    return files[0].relative_path is None


def refuse(name: str, what: str, rule: str, line: int | None = None) -> NoReturn:
    """Refuse a whole batch; the message is the name of its source and what is wrong with it.

    Raises:
        BatchRefused: always.
    """
    raise BatchRefused(f"{name} {what}", [Rejection(rule=rule, line=line)], source=name) from None


def refuse_too_large(name: str, max_gib: float) -> NoReturn:
    """Refuse a source that is larger than the recipe allows.

    Raises:
        BatchRefused: always.
    """
    refuse(name, f"is larger than {max_gib:g} GiB, the recipe's source.max_gib: raise it if that is right", "too large")
