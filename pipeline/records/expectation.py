"""What a person accepted about the deliveries of a recipe: the same is not suspicious again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pipeline.text import list_some

#: name of a series, and of a covariate or the target
Key = tuple[str, str]

_MAX_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What deliveries of a recipe look like, beyond what is expected of every recipe."""

    #: by series, how many of its stored values the source no longer delivers
    absent: Mapping[Key, int] = field(default_factory=dict)
    #: accepted distances between most neighbouring values, in periods
    steps: frozenset[int] = frozenset()

    def to_json(self) -> str:
        """Return it as the store keeps it."""
        absent = [[*key, count] for key, count in self.absent.items()]
        return json.dumps({"absent": absent, "steps": sorted(self.steps)})

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """Return what `to_json` wrote; nothing beyond the usual where nothing was kept."""
        kept = json.loads(text or "{}")
        return cls(
            absent={(series, variable): count for series, variable, count in kept.get("absent", [])},
            steps=frozenset(kept.get("steps", [])),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPreview:
    """What a batch on hold would change, as `ingest --approve` shows it."""

    num_new: int = 0
    num_revised: int = 0
    num_same: int = 0
    #: stored values that are no longer delivered, and the series that are missing completely
    num_absent: int = 0
    missing_series: tuple[str, ...] = ()
    #: by series: by which factor it is rescaled, by how many periods it is shifted
    rescaled: Mapping[str, float] = field(default_factory=dict)
    shifted: Mapping[str, int] = field(default_factory=dict)
    #: series, period, stored and delivered value of some revised values
    examples: tuple[tuple[str, str, float, float], ...] = ()

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """Return what was kept as JSON of its fields; all zero for a batch that an earlier release held."""
        kept = json.loads(text or "{}")
        sequences = {"missing_series": tuple(kept.get("missing_series", []))}
        sequences["examples"] = tuple(tuple(example) for example in kept.get("examples", []))
        return cls(**kept | sequences)

    def lines(self) -> list[str]:
        """Return it as text, a line each."""
        shown = [f"{self.num_new} new, {self.num_revised} revised, {self.num_same} unchanged"]
        if self.num_absent:
            shown.append(f"{self.num_absent} stored values are no longer delivered")
        if self.missing_series:
            shown.append(f"no longer delivered at all: {list_some(self.missing_series)}")
        shown += [f'"{name}" is rescaled by {factor:.4g}' for name, factor in list(self.rescaled.items())[:_MAX_SHOWN]]
        shown += [f'"{name}" is shifted by {lag:+d} periods' for name, lag in list(self.shifted.items())[:_MAX_SHOWN]]
        return [*shown, *(f'"{name}" {period}: {old:.12g} → {new:.12g}' for name, period, old, new in self.examples)]
