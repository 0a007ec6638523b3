"""Prices of a hundred-thousandth are readable wherever they are shown: case `small-prices-show-as-0.00`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.shell import Typed

pytestmark = pytest.mark.tensorflow

CASE = Path(__file__).parents[1] / "cases" / "small-prices-show-as-0.00"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(CASE, tmp_path / "case")
    return tmp_path / "case"


def test_every_number_has_significant_digits(folder: Path, types: Typed) -> None:
    recipe = str(folder / "recipe.toml")

    code, out, _ = types("run", recipe)
    rows = json.loads(types("show", recipe, "--json")[1])
    shown = types("show", recipe)[1]

    assert code == 0
    for text in (out, shown):
        for row in rows:
            (line,) = [line for line in text.splitlines() if line.startswith(str(row["period"])[:10])]
            texts = re.findall(r"0\.0000\d+", line)
            assert len(texts) == 3, line
            assert len({len(number) for number in texts}) == 1
            exact = [row["mean"], row["lower_80"], row["upper_80"]]
            assert [float(number) for number in texts] == pytest.approx(exact, rel=1e-3)
    assert rows[0]["mean"] != round(rows[0]["mean"], 9)  # JSON is not rounded
    scores = [line.split() for line in out.splitlines() if line.startswith(("lstm", "naive", "seasonal-naive"))]
    assert len(scores) == 3
    assert all(float(number) > 0 for line in scores for number in line[1:3])
    report = next(folder.glob("**/report.html"), None) or next(folder.parent.glob("**/report.html"))
    assert re.search(r"<td>0\.0000\d{5,}</td>", report.read_text())
