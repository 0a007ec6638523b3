"""Every extra can be installed beside what is locked, and documents name no extra and no package that there is none of."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.generated_readme import ROOT
from tests.test_documentation import PAGES

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
#: texts that name extras
SOURCES = sorted(path for folder in ("pipeline", "flows", "deployments") for path in (ROOT / folder).rglob("*.py"))


def locked(name: str) -> dict[str, str]:
    """The versions of a lock file by package."""
    text = (ROOT / name).read_text("utf-8")
    return {
        canonicalize_name(package): version for package, version in re.findall(r"^([\w.-]+)==([\w.!+-]+)", text, re.M)
    }


def unsatisfied(requirement: Requirement, versions: dict[str, str], seen: set[str]) -> list[str]:
    """What a requirement and the requirements of its package, as it is installed here, do not find among the versions."""
    name = canonicalize_name(requirement.name)
    if name not in versions or not requirement.specifier.contains(versions[name], prereleases=True):
        return [f"{requirement} is not {versions.get(name)}"]
    key = f"{name}[{','.join(sorted(requirement.extras))}]"
    if key in seen:
        return []
    seen.add(key)
    needed = [Requirement(text) for text in requires(name) or ()]
    extras = ("", *requirement.extras)
    return [
        missing
        for need in needed
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras)
        for missing in unsatisfied(need, versions, seen)
    ]


@pytest.mark.parametrize("extra", EXTRAS)
def test_everything_that_an_extra_needs_is_locked(extra: str) -> None:
    versions = locked("requirements-dev.lock")

    assert [text for need in EXTRAS[extra] for text in unsatisfied(Requirement(need), versions, set())] == []


def test_everything_that_the_package_needs_is_locked_in_both_files_at_one_version() -> None:
    versions, all_versions = locked("requirements.lock"), locked("requirements-dev.lock")

    assert [text for need in PROJECT["dependencies"] for text in unsatisfied(Requirement(need), versions, set())] == []
    assert {name: all_versions.get(name) for name in versions} == versions


def test_a_requirement_that_no_locked_version_satisfies_is_found() -> None:
    versions = locked("requirements-dev.lock")

    assert unsatisfied(Requirement("openpyxl>=99"), versions, set()) == [f"openpyxl>=99 is not {versions['openpyxl']}"]
    assert unsatisfied(Requirement("no-such-package"), versions, set()) == ["no-such-package is not None"]
    lacking = {name: version for name, version in versions.items() if name != "et-xmlfile"}
    assert unsatisfied(Requirement("openpyxl"), lacking, set()) == ["et-xmlfile is not None"]


@pytest.mark.parametrize("page", [*PAGES, *(path.relative_to(ROOT).as_posix() for path in SOURCES)])
def test_every_extra_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = {*re.findall(r"nextperiod\[(\w[\w,]*)\]", text), *re.findall(r"\bextra `(\w+)`", text)}

    assert {extra for names in named for extra in names.split(",")} <= set(EXTRAS)


@pytest.mark.parametrize("page", PAGES)
def test_every_package_that_a_page_installs_exists(page: str) -> None:
    commands = re.findall(r"\bpip install ((?:[\w'\"\[\],.=-]+ ?)+)", (ROOT / page).read_text("utf-8"))
    words = [word.strip("'\"") for command in commands for word in command.split() if not word.startswith("-")]
    packages = {re.split(r"[\[=]", word)[0] for word in words if not word.endswith(".whl")}

    assert packages <= {"nextperiod", *locked("requirements-dev.lock")}


def test_every_extra_is_documented() -> None:
    page = (ROOT / "deployments/README.md").read_text("utf-8")

    assert re.findall(r"^\| `(\w+)` \| `nextperiod\[(\w+)\]` \|", page, re.M) == [(extra, extra) for extra in EXTRAS]
