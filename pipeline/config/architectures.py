"""Names of the architectures that a recipe can choose, and where each is built; Keras is not imported."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

#: the architecture that chooses its own inputs and hyperparameters
GLOBAL = "global"
#: by name, the function of `pipeline.models` that builds the untrained network
ARCHITECTURES = {
    "global": "global_lstm:build_trunk",
    "vanilla": "vanilla:vanilla",
    "stacked": "stacked:stacked",
    "bidirectional": "bidirectional:bidirectional",
    "attention": "attention:attention",
    "cnn-lstm": "cnn_lstm:cnn_lstm",
    "encoder-decoder": "encoder_decoder:encoder_decoder",
    "gated-cell": "gated_cell:gated_cell",
}


def _check_name(name: str) -> str:
    if name not in ARCHITECTURES:
        raise PydanticCustomError("architecture", "expected one of {names}", {"names": ", ".join(ARCHITECTURES)})
    return name


#: the value of a recipe's key that names an architecture
Architecture = Annotated[str, AfterValidator(_check_name)]
