"""The wheel, built and installed as a stranger does."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

CLONE = Path(__file__).parents[2]


def build_wheel(folder: Path) -> Path:
    """Build the wheel of the clone into that folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=CLONE, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return path


def install_wheel(wheel: Path, folder: Path) -> Path:
    """Make an environment with the wheel beside the dependencies of this one; its folder of packages."""
    venv.create(folder, with_pip=False)
    packages = next(folder.glob("lib/python*/site-packages"))
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # its own .pth files are not read
    return packages
