"""Files in an object store: downloaded whole before they are read, and deleted afterwards."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.config.recipe import Recipe
from pipeline.config.sources import CsvSource, ExcelSource, ParquetSource
from pipeline.errors import NextperiodError, SourceMissing, SourceUnavailable
from pipeline.sources.file import (
    File,
    changed_file_error,
    detect_compression,
    fixed_folder,
    hint_suffix,
    missing_file_error,
    refuse,
    refuse_too_large,
)
from pipeline.text import list_names, without_secrets

#: accepted schemes, each with the time limits of its requests
SCHEMES: dict[str, dict[str, Any]] = {
    "gcs": {"timeout": 60},
    "gs": {"timeout": 60},
    "memory": {},
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"total_max_attempts": 2}}},
}


@contextmanager
def download_objects(
    path: str, recipe: Recipe, source: CsvSource | ExcelSource | ParquetSource, what: str
) -> Iterator[tuple[File, ...]]:
    """Give local copies of the objects of a path, sorted by name; they are deleted when the context manager exits.

    Args:
        path: address of one object or a pattern, such as `s3://bucket/sales-*.csv`.
        recipe: for messages.
        source: the recipe's source, which bounds the size.
        what: kind of file for messages, such as "CSV file".

    Raises:
        SourceMissing: there is no such object, or the library for the scheme is not installed.
        SourceUnavailable: the store does not answer.
        BatchRefused: the objects are too large, or may not be read.
    """
    shown = without_secrets(path)
    scheme = path.partition("://")[0].lower()
    if scheme not in SCHEMES or "::" in path:
        raise SourceMissing(
            f"{shown} cannot be read: expected a path, or one that begins with one of {list_names(f'{name}://' for name in SCHEMES)}"
        )
    with tempfile.TemporaryDirectory(prefix="nextperiod-") as folder:
        with _translated_errors(shown, recipe, what):
            files = _download(path, SCHEMES[scheme], source, Path(folder))
        if not files:
            raise missing_file_error(shown, recipe, what)
        yield files


def _download(
    path: str, options: Mapping[str, Any], source: CsvSource | ExcelSource | ParquetSource, folder: Path
) -> tuple[File, ...]:
    import fsspec

    shown = without_secrets(path)
    store, rooted = fsspec.core.url_to_fs(path, skip_instance_cache=True, use_listings_cache=False, **options)
    is_pattern = glob.has_magic(rooted)
    if not is_pattern and store.isdir(rooted):
        raise SourceMissing(f"{shown} is a folder: expected a file{hint_suffix(source)}")
    infos = store.glob(rooted, detail=True) if is_pattern else {rooted: store.info(rooted)}
    sizes = {name: int(info["size"]) for name, info in infos.items() if info["type"] == "file"}
    if sum(sizes.values()) > source.max_gib * 2**30:
        refuse_too_large(shown, source.max_gib)
    root = fixed_folder(PurePosixPath(rooted.strip("/"))) if is_pattern else None
    return tuple(
        _download_object(store, name, size=sizes[name], root=root, local=folder / str(number))
        for number, name in enumerate(sorted(sizes))
    )


def _download_object(store: Any, name: str, *, size: int, root: PurePosixPath | None, local: Path) -> File:
    relative_path = None if root is None else str(PurePosixPath(name.strip("/")).relative_to(root))
    shown = relative_path or PurePosixPath(name).name
    store.get_file(name, str(local))
    if local.stat().st_size != size:
        raise changed_file_error(shown)
    return File(path=local, name=shown, relative_path=relative_path, compression=detect_compression(name))


@contextmanager
def _translated_errors(shown: str, recipe: Recipe, what: str) -> Iterator[None]:
    """Replace the errors of a store, whose texts may hold credentials, by ours."""
    try:
        yield
    except NextperiodError:
        raise
    except ImportError:
        raise SourceMissing(f"{shown} needs a library that is not installed: pip install nextperiod[objects]") from None
    except FileNotFoundError:
        raise missing_file_error(shown, recipe, what) from None
    except PermissionError:
        refuse(shown, "may not be read: expected credentials in the environment that allow it", "access")
    except Exception as error:
        # every store has error classes of its own
        raise SourceUnavailable(f"{shown} cannot be read: {type(error).__name__}, try again later") from None
