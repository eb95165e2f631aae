# SPDX-License-Identifier: Apache-2.0
"""Small BERT encoders: random weights, and the same model as an ONNX graph of plain operators."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["bert_onnx", "bert_tensors", "sentences"]


def bert_tensors(
    width: int, inner: int, layers: int, words: int, positions: int = 16, seed: int = 1
) -> dict[str, np.ndarray]:
    """Return random tensors under the names of a BERT checkpoint."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.5, mean: float = 0.0) -> np.ndarray:
        return (mean + scale * rng.standard_normal(shape)).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": normal(words, width),
        "embeddings.position_embeddings.weight": normal(positions, width),
        "embeddings.token_type_embeddings.weight": normal(2, width),
        "embeddings.LayerNorm.weight": normal(width, mean=1.0),
        "embeddings.LayerNorm.bias": normal(width),
    }
    for k in range(layers):
        layer = f"encoder.layer.{k}"
        shapes = {f"attention.self.{x}": (width, width) for x in ("query", "key", "value")}
        shapes |= {
            "attention.output.dense": (width, width),
            "intermediate.dense": (inner, width),
            "output.dense": (width, inner),
        }
        for name, shape in shapes.items():
            tensors[f"{layer}.{name}.weight"] = normal(*shape, scale=shape[1] ** -0.5)
            tensors[f"{layer}.{name}.bias"] = normal(shape[0])
        for name in ("attention.output", "output"):
            tensors[f"{layer}.{name}.LayerNorm.weight"] = normal(width, mean=1.0)
            tensors[f"{layer}.{name}.LayerNorm.bias"] = normal(width)
    return tensors


def sentences(count: int, words: int, longest: int, seed: int = 2) -> list[list[int]]:
    """Return token ids of random sentences of 1 to ``longest`` tokens."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, words, rng.integers(1, longest + 1)).tolist() for _ in range(count)]


def padded(batch: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch padded with token 0, and its mask of real tokens."""
    shape = len(batch), max(map(len, batch))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for row, sentence in enumerate(batch):
        ids[row, : len(sentence)] = sentence
        mask[row, : len(sentence)] = 1
    return ids, mask


class _Graph:
    """Nodes of a graph; an operator's output is named after its place."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []

    def __call__(self, operator: str, *inputs: str, **attributes: object) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output


def bert_onnx(tensors: dict[str, np.ndarray], layers: int, heads: int) -> bytes:
    """Return the encoder with masked mean pooling as ONNX: ``ids``, ``mask`` -> ``embeddings``.

    It takes padded batches, and masks the padding in every softmax.
    """
    op = _Graph()
    width = tensors["embeddings.LayerNorm.bias"].size
    constants = {
        "split": np.array([0, 0, heads, width // heads]),
        "join": np.array([0, 0, width]),
        "root": np.float32((width / heads) ** 0.5),
        "one": np.float32(1),
        "low": np.float32(-1e9),
        "first": np.array([0]),
        "axis1": np.array([1]),
        "axes12": np.array([1, 2]),
        "axis2": np.array([2]),
    }

    def linear(name: str, x: str) -> str:
        turned = op("Transpose", f"{name}.weight", perm=[1, 0])
        return op("Add", op("MatMul", x, turned), f"{name}.bias")

    def norm(name: str, x: str) -> str:
        weight, bias = f"{name}.LayerNorm.weight", f"{name}.LayerNorm.bias"
        return op("LayerNormalization", x, weight, bias, axis=-1, epsilon=1e-12)

    def heads_of(x: str, perm: list[int]) -> str:
        return op("Transpose", op("Reshape", x, "split"), perm=perm)

    places = op("Slice", "embeddings.position_embeddings.weight", "first", "length")
    types = op("Gather", "embeddings.token_type_embeddings.weight", "first")
    x = op("Add", op("Gather", "embeddings.word_embeddings.weight", "ids"), places)
    x = norm("embeddings", op("Add", x, types))
    hidden = op("Mul", op("Sub", "one", op("Unsqueeze", "mask", "axes12")), "low")
    for k in range(layers):
        layer = f"encoder.layer.{k}"
        q = heads_of(linear(f"{layer}.attention.self.query", x), [0, 2, 1, 3])
        key = heads_of(linear(f"{layer}.attention.self.key", x), [0, 2, 3, 1])
        v = heads_of(linear(f"{layer}.attention.self.value", x), [0, 2, 1, 3])
        scores = op("Add", op("Div", op("MatMul", q, key), "root"), hidden)
        mixed = op("MatMul", op("Softmax", scores, axis=-1), v)
        mixed = op("Reshape", op("Transpose", mixed, perm=[0, 2, 1, 3]), "join")
        mixed = linear(f"{layer}.attention.output.dense", mixed)
        x = norm(f"{layer}.attention.output", op("Add", mixed, x))
        inner = op("Gelu", linear(f"{layer}.intermediate.dense", x))
        x = norm(f"{layer}.output", op("Add", linear(f"{layer}.output.dense", inner), x))
    real = op("Unsqueeze", "mask", "axis2")
    total = op("ReduceSum", op("Mul", x, real), "axis1", keepdims=0)
    pooled = op("Div", total, op("ReduceSum", "mask", "axis1", keepdims=1))
    result = op("LpNormalization", pooled, axis=-1, p=2)
    op.nodes.append(helper.make_node("Identity", [result], ["embeddings"]))
    graph = helper.make_graph(
        op.nodes,
        "bert",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "length"]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", "length"]),
            helper.make_tensor_value_info("length", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", width])],
        [
            numpy_helper.from_array(np.asarray(data), name)
            for name, data in (tensors | constants).items()
        ],
    )
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    return bytes(model.SerializeToString())
