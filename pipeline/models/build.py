"""An untrained network by the name of its architecture."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from pipeline.config.architectures import ARCHITECTURES

if TYPE_CHECKING:
    import keras

    from pipeline.models.specs import NetworkSpec


def build_network(architecture: str, sizes: NetworkSpec) -> keras.Model:
    """An untrained network."""
    network: keras.Model = resolve_name(ARCHITECTURES[architecture])(sizes)
    return network
