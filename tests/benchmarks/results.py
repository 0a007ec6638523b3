"""Every benchmark of speed into one page: `python -m tests.benchmarks.results`, as `make bench` does.

Ratios of two runs that followed each other outlive a machine, seconds do not: with `--check` the ratios are compared with those
of the page as it is, and a median that fell below the worst round of then, by more than a tenth, is a failure.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parent / "RESULTS.md"
PLOT = "night.svg"
#: by module, its title
BENCHMARKS = {
    "speed": "Fitting, beside Keras, PyTorch and neuralforecast",
    "tutorials": "The tutorials' networks, from the first call to fitted",
    "first_forecast": "The first forecast of one series, from the start of the process",
    "fine_tuning": "Fine-tuning, beside a training from the seed",
    "windows": "Windows",
    "forecasting": "Forecasting series that are loaded",
    "cycle": "What a cycle costs beyond what it must compute",
    "orchestration": "What Prefect adds to a cycle with a training",
    "night": "A night of many series",
    "store": "The store",
    "views": "One series from a view",
}
PACKAGES = ("tensorflow", "keras", "onnxruntime", "numpy", "pandas", "sqlalchemy", "psycopg", "prefect", "mlflow")
#: a median and its range
_RATIO = re.compile(r"([\d.]+) \(([\d.]+) to [\d.]+\)")
_TOLERANCE = 0.9


def machine() -> str:
    """When and on what it ran, in one sentence."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {len(os.sched_getaffinity(0))} cores of {model.group(1) if model else 'a processor'}, "
        f"{memory:.0f} GiB, shared with others; Python {platform.python_version()}, {versions}."
    )


def output(module: str, options: tuple[str, ...]) -> str:
    """What a benchmark prints."""
    command = [sys.executable, "-W", "ignore", "-m", f"tests.benchmarks.{module}", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def section(module: str, options: tuple[str, ...]) -> str:
    """A title, how to run it alone, what it ran on, and its table."""
    said = output(module, options)
    body = said if said.startswith("|") else f"```text\n{said}\n```"
    plot = f"\n\n![seconds of a night]({PLOT})" if module == "night" else ""
    return f"## {BENCHMARKS[module]}\n\n`python -m tests.benchmarks.{module}` on {machine()}\n\n{body}{plot}\n"


def ratios(page: str) -> Iterator[tuple[str, str, float, float]]:
    """Row, column, median and lowest of each ratio in a page's tables."""
    names: list[str] = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            names = []
        elif not names:
            names = cells
        for name, cell in zip(names, cells, strict=False):
            found = _RATIO.fullmatch(cell)
            if found and name.startswith(("×", "times")):
                yield cells[0], name, float(found.group(1)), float(found.group(2))


def slower(before: str, now: str) -> list[str]:
    """Ratios that fell, one sentence each."""
    earlier = {(row, column): lowest for row, column, _, lowest in ratios(before)}
    return [
        f"{row}, {column}: {median:g}, at least {earlier[row, column]:g} before"
        for row, column, median, _ in ratios(now)
        if (row, column) in earlier and median < _TOLERANCE * earlier[row, column]
    ]


def main() -> None:
    """Write the page, or compare with it; each section is told as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="of an environment with tests/benchmarks/requirements.txt, to compare with")
    parser.add_argument("--only", choices=list(BENCHMARKS), action="append")
    parser.add_argument("--check", action="store_true", help="write nothing, compare ratios")
    asked = parser.parse_args()
    before = PAGE.read_text("utf-8") if PAGE.exists() else ""
    kept = {title: f"## {text}" for text in before.split("\n## ")[1:] for title in [text.partition("\n")[0]]}
    sections = []
    for module, title in BENCHMARKS.items():
        if not asked.only or module in asked.only:
            told = ("--python", asked.python) if module == "speed" and asked.python else ()
            if module == "night" and not asked.check:
                told = ("--plot", str(PAGE.parent / PLOT))
            sections.append(section(module, told))
            print(sections[-1], flush=True)
        elif title in kept:
            sections.append(kept[title].rstrip() + "\n")
    page = "\n".join(["# What was measured\n\nMedians of rounds in turn, with their range.\n", *sections])
    fell = slower(before, page) if asked.check else []
    if not asked.check:
        PAGE.write_text(page, "utf-8")
    print("\n".join(fell) or "no ratio fell")
    sys.exit(1 if fell else 0)


if __name__ == "__main__":
    main()
