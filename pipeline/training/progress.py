"""What a training reports while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: "stage", epochs "done" of at most "total", and the "loss" of the last
Progress = Mapping[str, Any]


OnProgress = Callable[[Progress], None]
