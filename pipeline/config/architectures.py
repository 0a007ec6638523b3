"""The architectures that a recipe can name, and where each is built; nothing of Keras is imported to know the names."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

#: by name, a function from sizes to an untrained network; from a design, where the network chooses its own inputs
ARCHITECTURES = {
    "global": "pipeline.models.global_lstm:build_trunk",
    "vanilla": "pipeline.models.vanilla:vanilla",
    "stacked": "pipeline.models.stacked:stacked",
    "bidirectional": "pipeline.models.bidirectional:bidirectional",
    "attention": "pipeline.models.attention:attention",
    "cnn-lstm": "pipeline.models.cnn_lstm:cnn_lstm",
    "encoder-decoder": "pipeline.models.encoder_decoder:encoder_decoder",
    "gated-cell": "pipeline.models.gated_cell:gated_cell",
}


def _known(name: str) -> str:
    if name not in ARCHITECTURES:
        raise PydanticCustomError("architecture", "expected one of {names}", {"names": ", ".join(ARCHITECTURES)})
    return name


#: a key of a recipe that names one
Architecture = Annotated[str, AfterValidator(_known)]
