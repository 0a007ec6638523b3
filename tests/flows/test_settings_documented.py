from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.config.settings import SETTINGS

EXAMPLE = Path(__file__).parents[2] / "deployments" / "env.example"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_in_the_example_with_its_default(name: str) -> None:
    default, _ = SETTINGS[name]

    found = re.findall(rf"^(#?){name}=(.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE)

    assert len(found) == 1, f"{EXAMPLE} has {len(found)} lines for {name}: expected one"
    commented, value = found[0]
    assert (commented, value) == ("", default) if default else commented == "#"


def test_no_line_of_the_example_has_a_comment_behind_its_value() -> None:
    values = re.findall(r"^#?[A-Z_]+=(.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE)

    assert [value for value in values if " " in value] == []
