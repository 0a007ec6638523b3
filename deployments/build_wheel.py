"""What a wheel holds: one package `nextperiod`, with the packages of the clone and the example recipes inside.

In a clone the packages are `flows`, `pipeline` and `sql`. These are names that others have as well, and two wheels that
install the same name overwrite each other's files. So a wheel has them as `nextperiod.flows`, `nextperiod.pipeline` and
`nextperiod.sql`, and their imports of each other are rewritten, as pip does with the packages it carries. An editable
install is the clone as it is.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "nextperiod"
PARTS = ("flows", "pipeline", "sql")
#: what the examples need, beside the packages as in a clone
EXAMPLES = tuple(
    f"deployments/{name}" for name in ("recipes", "data", "starter", "env.example", "compose.yaml", "databases.sh")
)

_NAMES = "|".join(PARTS)
_FROM = re.compile(rf"^(\s*)from ({_NAMES})(?=[. ])", re.MULTILINE)
_IMPORT = re.compile(rf"^(\s*)import ({_NAMES})$", re.MULTILINE)
#: an import that gives the top package a name of its own cannot be rewritten line by line
_OTHER = re.compile(rf"^\s*import ({_NAMES})[., ].*$", re.MULTILINE)


class WheelHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the packages into `nextperiod` where a wheel is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the package to a temporary folder, and have the wheel made of it."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="nextperiod-wheel-")
        folder = Path(self._folder.name)
        write_package(Path(self.root), folder)
        build_data["force_include"][str(folder)] = PACKAGE
        scripts = self.metadata.core.scripts
        for name, target in scripts.items():
            scripts[name] = f"{PACKAGE}.{target}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        if version != "editable":
            self._folder.cleanup()


def write_package(root: Path, target: Path) -> None:
    """Write the packages of a clone to the folder of the package that holds them, with their imports rewritten."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in (*PARTS, *EXAMPLES):
        if (root / part).is_dir():
            shutil.copytree(root / part, target / part, ignore=ignored)
        else:
            shutil.copyfile(root / part, target / part)
    for path in target.rglob("*.py"):
        path.write_text(rewrite_imports(path.read_text("utf-8"), str(path.relative_to(target))), "utf-8")
    (target / "__init__.py").write_text(
        '"""Scheduled batch forecasting: `nextperiod.pipeline.api` is for notebooks."""\n'
    )


def rewrite_imports(code: str, name: str) -> str:
    """Rewrite the imports of the packages in a module.

    Raises:
        ValueError: an import is written in another way than the two that are rewritten.
    """
    if other := _OTHER.search(code):
        raise ValueError(f'{name}: "{other.group().strip()}" cannot be rewritten: write "from … import …"')
    code = _FROM.sub(rf"\1from {PACKAGE}.\2", code)
    return _IMPORT.sub(rf"\1from {PACKAGE} import \2", code)
