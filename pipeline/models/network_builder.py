"""Build an untrained network by the name of its architecture."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from pipeline.config.architectures import ARCHITECTURES

if TYPE_CHECKING:
    import keras

    from pipeline.models.specs import NetworkSpec


def build_network(architecture: str, spec: NetworkSpec) -> keras.Model:
    """Build an untrained network: [B, context, features] to [B, num_outputs].

    `architecture` is a name in `ARCHITECTURES` other than "global", which `global_lstm.build_trunk` builds.
    """
    network: keras.Model = resolve_name(f"{__package__}.{ARCHITECTURES[architecture]}")(spec)
    return network
