"""Files in an object store: fetched whole before they are read, and gone afterwards."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.config.recipe import Recipe
from pipeline.errors import NextperiodError, SourceMissing, SourceUnavailable
from pipeline.sources.file import File, hint, no_such_file, packing_of, refuse
from pipeline.text import list_names, without_secrets

#: schemes that may be named, and how long a request of each may take
SCHEMES: dict[str, dict[str, Any]] = {
    "gcs": {"timeout": 60},
    "gs": {"timeout": 60},
    "memory": {},
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"total_max_attempts": 2}}},
}


@contextmanager
def fetched_files(path: str, recipe: Recipe, what: str) -> Iterator[tuple[File, ...]]:
    """Local copies of the objects that a path with a scheme names, sorted by name.

    Raises:
        SourceMissing: there is none, or the library for the scheme is not installed.
        SourceUnavailable: the store does not answer.
        BatchRefused: they are too large, or may not be read.
    """
    shown = without_secrets(path)
    scheme = path.partition("://")[0].lower()
    if scheme not in SCHEMES or "::" in path:
        raise SourceMissing(
            f"{shown} cannot be read: expected a path, or one that begins with one of {list_names(f'{name}://' for name in SCHEMES)}"
        )
    with tempfile.TemporaryDirectory(prefix="nextperiod-") as folder:
        with _told(shown, recipe, what):
            files = _fetch(path, scheme, recipe, Path(folder))
        if not files:
            raise no_such_file(shown, recipe, what)
        yield files


def _fetch(path: str, scheme: str, recipe: Recipe, folder: Path) -> tuple[File, ...]:
    import fsspec

    store, rooted = fsspec.core.url_to_fs(path, skip_instance_cache=True, use_listings_cache=False, **SCHEMES[scheme])
    is_pattern = glob.has_magic(rooted)
    if not is_pattern and store.isdir(rooted):
        raise SourceMissing(f"{without_secrets(path)} is a folder: expected a file{hint(recipe.source)}")
    found = store.glob(rooted, detail=True) if is_pattern else {rooted: store.info(rooted)}
    sizes = {name: int(info["size"]) for name, info in found.items() if info["type"] == "file"}
    _refuse_large(sum(sizes.values()), recipe, without_secrets(path))
    fixed = _fixed_folder(rooted)
    files = []
    for number, name in enumerate(sorted(sizes)):
        local = folder / str(number)
        store.get_file(name, str(local))
        inside = str(PurePosixPath(name.strip("/")).relative_to(fixed)) if is_pattern else None
        shown = inside or PurePosixPath(name).name
        if local.stat().st_size != sizes[name]:
            raise SourceUnavailable(f"{shown} was changed while it was read: expected a file that is written once")
        files.append(File(path=local, name=shown, inside=inside, packing=packing_of(name)))
    return tuple(files)


def _fixed_folder(pattern: str) -> PurePosixPath:
    parts = PurePosixPath(pattern.strip("/")).parts
    fixed = next((position for position, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return PurePosixPath(*parts[:fixed])


def _refuse_large(num_bytes: int, recipe: Recipe, shown: str) -> None:
    most = float(getattr(recipe.source, "max_gib", 4.0))
    if num_bytes > most * 2**30:
        refuse(
            shown, f"has more than {most:g} GiB, the recipe's source.max_gib: raise it if that is right", "too large"
        )


@contextmanager
def _told(shown: str, recipe: Recipe, what: str) -> Iterator[None]:
    """Tell each fault of the store in our own words."""
    try:
        yield
    except NextperiodError:
        raise
    except ImportError:
        told: NextperiodError = SourceMissing(
            f"{shown} needs a library that is not installed: pip install nextperiod[objects]"
        )
    except FileNotFoundError:
        told = no_such_file(shown, recipe, what)
    except PermissionError:
        refuse(shown, "may not be read: expected credentials in the environment that allow it", "access")
    except Exception as error:
        # each store has errors of its own
        told = SourceUnavailable(f"{shown} cannot be read: {type(error).__name__}, try again later")
    else:
        return
    raise told from None
