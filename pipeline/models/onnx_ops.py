"""Operations that write ONNX nodes: functions named and called as those of `keras.ops`, for tensors of a graph.

There are those that `window_steps` and `onnx_network` call, no more. The first axis of a tensor are the windows; their
number is known when the network is run, and no operation changes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

#: versions of the format that every installed ONNX Runtime reads; those of the networks that tf2onnx writes
_OPSET, _IR_VERSION = 15, 8
_TYPES = {"float32": TensorProto.FLOAT, "bool": TensorProto.BOOL}


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """A graph that grows node by node."""

    nodes: list[NodeProto] = field(default_factory=list)
    #: by type, shape and content, so that equal ones are stored once
    constants: dict[tuple[str, tuple[int, ...], bytes], TensorProto] = field(default_factory=dict)

    def add_constant(self, values: npt.ArrayLike, dtype: str = "float32") -> str:
        """Return the name of a constant."""
        array = np.asarray(values, dtype=dtype)
        key = dtype, array.shape, array.tobytes()
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(array, f"constant_{len(self.constants)}")
        return str(self.constants[key].name)

    def add_node(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node and return the names of its outputs."""
        names = [f"node_{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def build_model(self, inputs: Sequence[OnnxTensor], output: OnnxTensor, output_name: str) -> ModelProto:
        """Return the model that computes one output from inputs, for any number of windows."""
        self.nodes.append(helper.make_node("Identity", [output.name], [output_name]))
        values = [(tensor.name, tensor) for tensor in inputs] + [(output_name, output)]
        described = [
            helper.make_tensor_value_info(name, _TYPES[tensor.dtype], ["windows", *tensor.shape[1:]])
            for name, tensor in values
        ]
        constants = list(self.constants.values())
        graph = helper.make_graph(self.nodes, "network", described[:-1], described[-1:], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)


@dataclass(frozen=True, slots=True, eq=False)
class OnnxTensor:
    """The result of a node, an input or a constant; arithmetic, comparison and slicing write nodes."""

    graph: OnnxGraph
    name: str
    #: its first entry is None: the number of windows
    shape: tuple[Any, ...]
    dtype: str = "float32"

    def __add__(self, other: Any) -> OnnxTensor:
        return _combine("Add", self, other)

    def __radd__(self, other: Any) -> OnnxTensor:
        return _combine("Add", other, self)

    def __sub__(self, other: Any) -> OnnxTensor:
        return _combine("Sub", self, other)

    def __rsub__(self, other: Any) -> OnnxTensor:
        return _combine("Sub", other, self)

    def __mul__(self, other: Any) -> OnnxTensor:
        return _combine("Mul", self, other)

    def __rmul__(self, other: Any) -> OnnxTensor:
        return _combine("Mul", other, self)

    def __truediv__(self, other: Any) -> OnnxTensor:
        return _combine("Div", self, other)

    def __gt__(self, other: Any) -> OnnxTensor:
        return _combine("Greater", self, other, dtype="bool")

    def __ge__(self, other: Any) -> OnnxTensor:
        return _combine("GreaterOrEqual", self, other, dtype="bool")

    def __getitem__(self, key: Any) -> OnnxTensor:
        """Slice as NumPy does, with integers, slices, None and `...`; the first entry is `:`, or `...`."""
        parts = _without_ellipsis(key if isinstance(key, tuple) else (key,), len(self.shape))
        assert parts[0] == slice(None), "all windows are kept"
        of_axes = [part for part in parts if part is not None]
        cuts = {axis: part for axis, part in enumerate(of_axes) if part != slice(None)}
        integers = [axis for axis, part in cuts.items() if isinstance(part, int)]
        new = [axis for axis, part in enumerate(part for part in parts if not isinstance(part, int)) if part is None]
        name = self.name
        if cuts:
            bounds = [_bounds(part, self.shape[axis]) for axis, part in cuts.items()]
            starts, ends = zip(*bounds, strict=True)
            name = self._add("Slice", name, starts, ends, list(cuts))
        if integers:
            name = self._add("Squeeze", name, integers)
        if new:
            name = self._add("Unsqueeze", name, new)
        shape = np.broadcast_to(0.0, (1, *self.shape[1:]))[tuple(parts)].shape
        return OnnxTensor(self.graph, name, (None, *shape[1:]), self.dtype)

    def _add(self, kind: str, name: str, *arguments: Sequence[int]) -> str:
        """Add a node whose further inputs are constant integers."""
        return self.graph.add_node(kind, [name, *(self.graph.add_constant(part, "int64") for part in arguments)])[0]


def _without_ellipsis(key: tuple[Any, ...], rank: int) -> list[Any]:
    """A key with one entry for each of `rank` axes, besides those that are None."""
    given = len([part for part in key if part is not None and part is not Ellipsis])
    place = key.index(Ellipsis) if Ellipsis in key else len(key)
    return [*key[:place], *[slice(None)] * (rank - given), *key[place + 1 :]]


def _bounds(part: int | slice, size: int) -> tuple[int, int]:
    """First place that a key takes of an axis, and the place after the last."""
    start, stop, step = (part if isinstance(part, slice) else slice(part, part + 1 or None)).indices(size)
    assert step == 1
    return start, max(start, stop)


def _combine(kind: str, *operands: Any, dtype: str = "float32") -> OnnxTensor:
    """Apply an operation element by element to tensors and constants, the shapes broadcast as NumPy does."""
    tensors = [operand for operand in operands if isinstance(operand, OnnxTensor)]
    graph = tensors[0].graph
    names = [part.name if isinstance(part, OnnxTensor) else graph.add_constant(part) for part in operands]
    shapes = [(1, *part.shape[1:]) if isinstance(part, OnnxTensor) else np.shape(part) for part in operands]
    return _of_node(tensors[0], kind, names, np.broadcast_shapes(*shapes), dtype=dtype)


def _of_node(
    x: OnnxTensor, kind: str, names: Sequence[str], shape: Sequence[Any], *, dtype: str = "float32", **attributes: Any
) -> OnnxTensor:
    """The output, [windows, *shape[1:]], of a node that is added to the graph of `x`."""
    return OnnxTensor(x.graph, x.graph.add_node(kind, names, **attributes)[0], (None, *shape[1:]), dtype)


def abs(x: OnnxTensor) -> OnnxTensor:
    """Magnitude of each number."""
    return _combine("Abs", x)


def log(x: OnnxTensor) -> OnnxTensor:
    """Natural logarithm."""
    return _combine("Log", x)


def softplus(x: OnnxTensor) -> OnnxTensor:
    """log(1 + exp(x))."""
    return _combine("Softplus", x)


def stop_gradient(x: OnnxTensor) -> OnnxTensor:
    """The tensor itself: nothing is trained here."""
    return x


def maximum(x: OnnxTensor, other: Any) -> OnnxTensor:
    """The greater of two numbers."""
    return _combine("Max", x, other)


def where(condition: OnnxTensor, x: OnnxTensor, other: Any) -> OnnxTensor:
    """`x` where the condition is true, `other` elsewhere."""
    return _combine("Where", condition, x, other)


def cast(x: OnnxTensor, dtype: str) -> OnnxTensor:
    """The tensor as numbers of another type: true is 1."""
    return _of_node(x, "Cast", [x.name], x.shape, dtype=dtype, to=_TYPES[dtype])


def ones_like(x: OnnxTensor) -> OnnxTensor:
    """1 in the shape of a tensor."""
    (shape,) = x.graph.add_node("Shape", [x.name])
    return _of_node(x, "ConstantOfShape", [shape], x.shape, value=numpy_helper.from_array(np.ones(1, np.float32)))


def concatenate(tensors: Sequence[OnnxTensor], axis: int) -> OnnxTensor:
    """Join tensors along an axis."""
    shape = list(tensors[0].shape)
    shape[axis] = np.sum([tensor.shape[axis] for tensor in tensors]).item()
    return _of_node(tensors[0], "Concat", [tensor.name for tensor in tensors], shape, axis=axis % len(shape))


def take(x: OnnxTensor, indices: npt.NDArray[np.int64], axis: int) -> OnnxTensor:
    """Take constant places of an axis."""
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return _of_node(x, "Gather", [x.name, x.graph.add_constant(indices, "int64")], shape, axis=axis)


def reshape(x: OnnxTensor, shape: tuple[int, ...]) -> OnnxTensor:
    """The same numbers of each window in another shape, whose first entry is -1."""
    assert math.prod(x.shape[1:]) == math.prod(shape[1:]), f"{x.shape} cannot be {shape}"
    return _of_node(x, "Reshape", [x.name, x.graph.add_constant(shape, "int64")], shape)


def pad(x: OnnxTensor, widths: Sequence[tuple[int, int]]) -> OnnxTensor:
    """Add zeros before and after each axis."""
    before, after = zip(*widths, strict=True)
    if not any((*before, *after)):
        return x
    names = [x.name, x.graph.add_constant([*before, *after], "int64"), x.graph.add_constant(0.0)]
    shape = [None, *(size + first + last for size, (first, last) in zip(x.shape[1:], widths[1:], strict=True))]
    return _of_node(x, "Pad", names, shape)


def matmul(x: OnnxTensor, matrix: npt.NDArray[np.float32]) -> OnnxTensor:
    """Product with a constant matrix."""
    return _of_node(x, "MatMul", [x.name, x.graph.add_constant(matrix)], (*x.shape[:-1], matrix.shape[1]))


def cumsum(x: OnnxTensor, axis: int) -> OnnxTensor:
    """Sums of the numbers so far along an axis."""
    return _of_node(x, "CumSum", [x.name, x.graph.add_constant(axis, "int64")], x.shape)


def sum(x: OnnxTensor, axis: int, keepdims: bool = False) -> OnnxTensor:
    """Sum over an axis."""
    names = [x.name, x.graph.add_constant([axis], "int64")]  # an input here, but an attribute of the other reductions
    return _of_node(x, "ReduceSum", names, _reduced(x.shape, axis, keepdims), keepdims=int(keepdims))


def mean(x: OnnxTensor, axis: int, keepdims: bool = False) -> OnnxTensor:
    """Mean over an axis."""
    return _of_node(x, "ReduceMean", [x.name], _reduced(x.shape, axis, keepdims), axes=[axis], keepdims=int(keepdims))


def min(x: OnnxTensor, axis: int, keepdims: bool = False) -> OnnxTensor:
    """Least number of an axis."""
    return _of_node(x, "ReduceMin", [x.name], _reduced(x.shape, axis, keepdims), axes=[axis], keepdims=int(keepdims))


def _reduced(shape: tuple[Any, ...], axis: int, keepdims: bool) -> tuple[Any, ...]:
    """The shape without an axis, which is 1 instead with `keepdims`."""
    return (*shape[:axis], *([1] if keepdims else []), *shape[axis + 1 :])


def split(x: OnnxTensor, count: int, axis: int) -> list[OnnxTensor]:
    """Cut an axis into parts of one size."""
    axis %= len(x.shape)
    shape = (None, *x.shape[1:axis], x.shape[axis] // count, *x.shape[axis + 1 :])
    return [OnnxTensor(x.graph, name, shape) for name in x.graph.add_node("Split", [x.name], count, axis=axis)]
