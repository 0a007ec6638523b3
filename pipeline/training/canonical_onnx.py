"""One spelling for each ONNX network: the same network has the same bytes, so its hash names it."""

from __future__ import annotations

from typing import Any


def canonicalize(model: Any) -> Any:
    """The same network with its nodes in the order in which its output needs them, and named by that order.

    The exporter orders and numbers nodes as its sets happen to lie in memory. What no output needs is
    left out.
    """
    from onnx import helper

    graph = model.graph
    nodes = _in_order_of_need(graph)
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
    return helper.make_model(
        rebuilt, opset_imports=sorted(model.opset_import, key=lambda one: str(one.domain)), ir_version=model.ir_version
    )


def _in_order_of_need(graph: Any) -> list[Any]:
    """The nodes that the outputs need, each after those that it needs itself."""
    maker = {name: node for node in graph.node for name in node.output}
    ordered: dict[str, Any] = {}
    pending = [maker[output.name] for output in reversed(graph.output)]
    while pending:
        node = pending[-1]
        needed = next(
            (maker[name] for name in node.input if name in maker and maker[name].output[0] not in ordered), None
        )
        if needed is not None:
            pending.append(needed)
        else:
            ordered.setdefault(node.output[0], node)
            pending.pop()
    return list(ordered.values())
