# SPDX-License-Identifier: Apache-2.0
"""ONNX models whose weights are in all places that a model has for them.

All weights are whole numbers so small that float32 sums of their products are exact in any order:
what a runtime makes of them does not depend on its kernels or its machine.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["ARRAYS", "SPARSE", "model", "run", "save_initializers", "sparse"]

_RNG = np.random.default_rng(16)


def _dense(*shape):
    return _RNG.choice(np.array([-2, -1, 1, 2], np.float32), size=shape)


def _pruned(*shape):
    return _dense(*shape) * (_RNG.random(shape) < 0.3)


ARRAYS = {
    "plain": _dense(8, 8),
    "pruned": _pruned(8, 8),
    "If_5.then/Conv_3.weight": _dense(8, 8),
    "If_5.else/other": _pruned(8, 8),
    "constant": _dense(8, 8),
    "scale": _dense(8),
    "function custom.Block/inner": _dense(8, 8),
}
"""By the names that the reader gives: all that :func:`model` holds but its condition."""
SPARSE = {"pruned", "If_5.else/other"}


def sparse(array, name, *, pairs):
    """Return a SparseTensorProto; indices are pairs or places in the flat array."""
    at = np.flatnonzero(array)
    values = numpy_helper.from_array(array.reshape(-1)[at], name)
    if pairs:
        at = np.stack(np.unravel_index(at, array.shape), axis=1)
    return helper.make_sparse_tensor(
        values, numpy_helper.from_array(at.astype(np.int64), f"{name}_at"), array.shape
    )


def _constant(array, name):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))


def _branch(name, nodes, weight, initializers=()):
    nodes = [*nodes, helper.make_node("MatMul", ["h2", weight], [f"{name}_out"])]
    out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [out], initializers)


def model():
    """Return a model of ``x`` (n, 8) to ``y`` (n, 8), with a branch by the sign of its sum."""
    arrays = ARRAYS
    then = _branch(
        "then",
        [],
        "Conv_3.weight",
        [numpy_helper.from_array(arrays["If_5.then/Conv_3.weight"], "Conv_3.weight")],
    )
    other = sparse(arrays["If_5.else/other"], "", pairs=False)
    other = helper.make_node("Constant", [], ["other"], sparse_value=other)
    nodes = [
        helper.make_node("MatMul", ["x", "plain"], ["h0"]),
        helper.make_node("MatMul", ["h0", "pruned"], ["h1"]),
        helper.make_node("Identity", ["h1"], ["h2"]),
        helper.make_node("ReduceSum", ["h1"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node(
            "If",
            ["positive"],
            ["h3"],
            then_branch=then,
            else_branch=_branch("else", [other], "other"),
        ),
        _constant(arrays["constant"], "constant"),
        helper.make_node("MatMul", ["h3", "constant"], ["h4"]),
        helper.make_node("Constant", [], ["scale"], value_floats=arrays["scale"].tolist()),
        helper.make_node("Mul", ["h4", "scale"], ["h5"]),
        helper.make_node("Block", ["h5"], ["y"], domain="custom"),
    ]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("custom", 1)]
    block = helper.make_function(
        "custom",
        "Block",
        ["a"],
        ["b"],
        [
            _constant(arrays["function custom.Block/inner"], "inner"),
            helper.make_node("MatMul", ["a", "inner"], ["b"]),
        ],
        opsets[:1],
    )
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [
            numpy_helper.from_array(arrays["plain"], "plain"),
            numpy_helper.from_array(np.float32(0), "zero"),
        ],
        sparse_initializer=[sparse(arrays["pruned"], "pruned", pairs=True)],
    )
    return helper.make_model(graph, functions=[block], opset_imports=opsets, ir_version=10)


def run(arrays, x):
    """Return what the model makes of ``x``, in NumPy."""
    hidden = x @ arrays["plain"] @ arrays["pruned"]
    branch = "If_5.then/Conv_3.weight" if hidden.sum() > 0 else "If_5.else/other"
    hidden = hidden @ arrays[branch] @ arrays["constant"] * arrays["scale"]
    return hidden @ arrays["function custom.Block/inner"]


def save_initializers(path, arrays):
    """Write a model whose initializers are arrays, or TensorProtos by name."""
    made = [
        a if isinstance(a, TensorProto) else numpy_helper.from_array(a, name)
        for name, a in arrays.items()
    ]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", [made[0].name], ["y"])
    onnx.save(helper.make_model(helper.make_graph([node], "g", [], [y], made)), path)
