# SPDX-License-Identifier: Apache-2.0
"""Where an ONNX model holds tensors: initializers, constants and attributes, at every depth.

A tensor's name is its path. A value of the main graph has its own name. Before that of a value in
the body of a node stand the node and the attribute, as in ``If_12.then/Conv_3.weight``; a node
without a name is called by its operator and its place in its graph. Before that of a value in a
function stand the function's domain and name, as in ``function custom.Block/weight``. The tensor of
an attribute is called by node and attribute, as in ``Fill_3.value``; that of a Constant node like
the node's output.
"""

from collections.abc import Iterator
from typing import Any

__all__ = ["tensors_of"]

Found = tuple[str, Any]
"""Path, and a message of the model: TensorProto, SparseTensorProto, or the AttributeProto of a
Constant node with numbers or texts."""


def tensors_of(model: Any) -> dict[str, Any]:
    """Return all messages of a ModelProto that hold a tensor, by path.

    Paths that a model has twice get ``#2``, ``#3`` and so on.
    """
    found: dict[str, Any] = {}
    for path, message in _model(model):
        name, number = path, 1
        while name in found:
            number += 1
            name = f"{path}#{number}"
        found[name] = message
    return found


def _model(model: Any) -> Iterator[Found]:
    yield from _graph(model.graph, "")
    for function in model.functions:
        parts = (function.domain, function.name, function.overload)
        yield from _nodes(function.node, f"function {'.'.join(filter(None, parts))}/")
    for number, training in enumerate(model.training_info):
        yield from _graph(training.initialization, f"training_{number}.initialization/")
        yield from _graph(training.algorithm, f"training_{number}.algorithm/")


def _graph(graph: Any, prefix: str) -> Iterator[Found]:
    for tensor in graph.initializer:
        yield prefix + tensor.name, tensor
    for sparse in graph.sparse_initializer:
        yield prefix + sparse.values.name, sparse
    yield from _nodes(graph.node, prefix)


def _nodes(nodes: Any, prefix: str) -> Iterator[Found]:
    for number, node in enumerate(nodes):
        own = prefix + (node.name or f"{node.op_type}_{number}")
        constant = node.op_type == "Constant" and node.domain in ("", "ai.onnx") and node.output
        for attribute in node.attribute:
            path = prefix + node.output[0] if constant else f"{own}.{attribute.name}"
            yield from _attribute(attribute, path, constant=bool(constant))


def _attribute(attribute: Any, path: str, *, constant: bool) -> Iterator[Found]:
    if attribute.HasField("t"):
        yield path, attribute.t
    elif attribute.HasField("sparse_tensor"):
        yield path, attribute.sparse_tensor
    elif attribute.HasField("g"):
        yield from _graph(attribute.g, f"{path.removesuffix('_branch')}/")
    elif constant and attribute.name.startswith("value_"):
        yield path, attribute
    for number, tensor in enumerate((*attribute.tensors, *attribute.sparse_tensors)):
        yield f"{path}.{number}", tensor
    for number, graph in enumerate(attribute.graphs):
        yield from _graph(graph, f"{path}.{number}/")
