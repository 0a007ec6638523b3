"""Give equal ONNX networks equal bytes, so that a hash identifies the network."""

from __future__ import annotations

from typing import Any


def canonicalize(model: Any) -> Any:
    """Return the same ONNX model with its nodes ordered and named by the order in which the outputs need them.

    The exporter orders and numbers nodes by their places in memory. Nodes that no output needs are left out.
    """
    from onnx import helper

    graph = model.graph
    nodes = _sort_by_need(graph)
    names = {"": "", **{value.name: value.name for value in (*graph.input, *graph.output)}}
    for node in nodes:
        for name in (*node.input, *node.output):
            names.setdefault(name, f"v{len(names)}")
    for number, node in enumerate(nodes):
        node.name = f"n{number}"
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    constants = [constant for constant in graph.initializer if constant.name in names]
    for constant in constants:
        constant.name = names[constant.name]
    constants.sort(key=lambda constant: int(constant.name[1:]))
    rebuilt = helper.make_graph(nodes, "network", list(graph.input), list(graph.output), constants)
    opset_imports = sorted(model.opset_import, key=lambda opset: str(opset.domain))
    return helper.make_model(rebuilt, opset_imports=opset_imports, ir_version=model.ir_version)


def _sort_by_need(graph: Any) -> list[Any]:
    """The nodes that the outputs need, each after the nodes that it needs itself."""
    node_of = {name: node for node in graph.node for name in node.output}
    ordered: dict[str, Any] = {}
    pending = [node_of[output.name] for output in reversed(graph.output)]
    while pending:
        node = pending[-1]
        needed = next(
            (node_of[name] for name in node.input if name in node_of and node_of[name].output[0] not in ordered), None
        )
        if needed is not None:
            pending.append(needed)
        else:
            ordered.setdefault(node.output[0], node)
            pending.pop()
    return list(ordered.values())
