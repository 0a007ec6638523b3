"""The LSTM cell written out from its gate equations.

    f = σ(x W_f + h U_f + b_f)      forget
    i = σ(x W_i + h U_i + b_i)      input
    g = tanh(x W_g + h U_g + b_g)   candidate
    o = σ(x W_o + h U_o + b_o)      output
    c ← f ⊙ c + i ⊙ g
    h ← o ⊙ tanh(c)

Gers, Schmidhuber and Cummins (2000), Neural Computation 12(10), without peepholes. Both states start
at zero for every window. Weights are laid out as in `keras.layers.LSTM`: [i, f, g, o] side by side.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from pipeline.models.heads import build_head
from pipeline.models.specs import NetworkSpec


@keras.saving.register_keras_serializable(package="nextperiod")
class GatedCell(keras.layers.Layer):
    """One step of the recurrence, for `keras.layers.RNN`."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, units]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Add W [F, 4U], U [U, 4U] and b [4U]; the bias of the forget gate starts at one."""
        units = self.units
        self.W = self.add_weight(shape=(input_shape[-1], 4 * units), initializer="glorot_uniform", name="kernel")
        self.U = self.add_weight(shape=(units, 4 * units), initializer="orthogonal", name="recurrent_kernel")
        self.b = self.add_weight(shape=(4 * units,), initializer=_forget_gate_open, name="bias")

    def call(self, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Return the output [B, U] and the states after input x [B, F]."""
        h, c = states
        i, f, g, o = ops.split(ops.matmul(x, self.W) + ops.matmul(h, self.U) + self.b, 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return h, [h, c]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="nextperiod")
def _forget_gate_open(shape: tuple[int, ...], dtype: Any = None) -> Any:
    units = shape[0] // 4
    return ops.concatenate([ops.zeros(units, dtype), ops.ones(units, dtype), ops.zeros(2 * units, dtype)])


def gated_cell(spec: NetworkSpec) -> keras.Model:
    """Build the cell over the context, dropout, Dense(num_outputs)."""
    context = keras.Input((spec.context, spec.features), name="context")
    state = keras.layers.RNN(GatedCell(spec.units), unroll=True)(context)  # [B, units]
    return build_head(context, state, spec)
