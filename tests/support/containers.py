"""What Dockerfile and compose.yaml say, read without Docker."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"


def instructions(dockerfile: Path = DEPLOYMENTS / "Dockerfile") -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments, in its order."""
    lines = [line for line in dockerfile.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def stages(dockerfile: Path = DEPLOYMENTS / "Dockerfile") -> list[list[tuple[str, str]]]:
    """The instructions of each stage, of which the first is its FROM."""
    stages: list[list[tuple[str, str]]] = []
    for word, rest in instructions(dockerfile):
        if word == "FROM":
            stages.append([])
        if stages:
            stages[-1].append((word, rest))
    return stages


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    pairs = [pair for word, rest in stages()[-1] if word == "ENV" for pair in shlex.split(rest)]
    return dict(pair.split("=", 1) for pair in pairs)


def read_compose(path: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The content of a compose.yaml with `${NAME:-default}` filled in."""

    def fill(match: re.Match[str]) -> str:
        return (environment or {}).get(match[1]) or match[2]

    text = re.sub(r"\$\{(\w+):-([^}]*)\}", fill, path.read_text("utf-8"))
    document: dict[str, Any] = yaml.safe_load(text)
    return document
