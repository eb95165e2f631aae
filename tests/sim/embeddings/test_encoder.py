# SPDX-License-Identifier: Apache-2.0
"""The sentence encoder, against the same model in ONNX Runtime on padded batches."""

import math
import warnings
from functools import lru_cache

import numpy as np
import onnxruntime
import pytest
from xorloom.sim.datasets import minilm, minilm_tokenizer
from xorloom.sim.embeddings.encoder import SentenceEncoder
from xorloom.sim.embeddings.kernels import gelu
from xorloom.sim.embeddings.text import token_ids
from xorloom.sw.base.errors import ConfigError, ToolError
from xorloom.sw.model.plan.source import open_plain

from tests.helpers.bert import bert_onnx, bert_tensors, padded, sentences

WORDS, HEADS, LAYERS = 50, 3, 2


@lru_cache
def tensors() -> dict[str, np.ndarray]:
    return bert_tensors(24, 40, LAYERS, WORDS)


def encoder(**changed: np.ndarray) -> SentenceEncoder:
    return SentenceEncoder(tensors() | changed, HEADS)


BATCH = sentences(30, WORDS, 16)


def test_embeddings_are_those_of_onnx_runtime() -> None:
    ids, mask = padded(BATCH)
    model = onnxruntime.InferenceSession(bert_onnx(tensors(), LAYERS, HEADS))
    inputs = {"ids": ids, "mask": mask, "length": np.array([ids.shape[1]])}
    (expected,) = model.run(["embeddings"], inputs)
    found = encoder().embed(BATCH)
    assert (found.dtype, found.shape) == (np.float32, (30, 24))
    assert np.abs(found - expected).max() < 2e-6
    assert np.abs((expected @ expected.T)[np.triu_indices(30, 1)]).max() < 0.999


def test_sentence_has_one_embedding_whatever_stands_beside_it() -> None:
    alone = np.concatenate([encoder().embed([sentence]) for sentence in BATCH[:5]])
    assert np.abs(alone - encoder().embed(BATCH)[:5]).max() < 1e-6


def test_walk_shows_every_matrix_its_inputs() -> None:
    """One row for every real token, in the order of use."""
    model, seen = encoder(), []
    for group, inputs in model.walk(BATCH):
        seen.append(group)
        assert inputs.dtype == np.float32
        for name in group:
            assert inputs.shape == (sum(map(len, BATCH)), model.tensors[name].shape[1])
    assert seen == model.groups
    assert [len(group) for group in seen] == [3, 1, 1, 1] * LAYERS
    assert [name for group in seen for name in group] == model.matrices
    assert model.matrices[9] == "encoder.layer.1.attention.output.dense.weight"


def test_inputs_of_the_first_group_are_the_embedded_tokens() -> None:
    _, inputs = next(encoder().walk([[7, 8]]))
    found = tensors()
    x = found["embeddings.word_embeddings.weight"][[7, 8]]
    x = x + found["embeddings.position_embeddings.weight"][:2]
    x = x + found["embeddings.token_type_embeddings.weight"][0]
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    x = x * found["embeddings.LayerNorm.weight"] + found["embeddings.LayerNorm.bias"]
    assert np.allclose(inputs, x, atol=1e-5)


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_what_is_replaced_on_the_way_is_used_from_there_on(part: str) -> None:
    for group in encoder().groups:
        names = [name.removesuffix("weight") + part for name in group]
        changed = {name: tensors()[name][::-1].copy() for name in names}
        expected = encoder(**changed).embed(BATCH)
        model = encoder()
        walk = model.walk(BATCH)
        try:
            while True:
                now, _ = next(walk)
                if now == group:
                    model.tensors |= changed
        except StopIteration as end:
            found = end.value
        assert (found == expected).all()
        assert (found != encoder().embed(BATCH)).any()


def test_gelu_is_exact() -> None:
    x = np.linspace(-9, 9, 4001, dtype=np.float32).reshape(-1, 1)
    expected = [0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x[:, 0].tolist()]
    compiled, plain = x.copy(), x[::50].copy()
    gelu(compiled)
    gelu.py_func(plain)
    assert np.allclose(compiled[:, 0], expected, rtol=1e-6, atol=1e-7)
    assert np.allclose(plain[:, 0], expected[::50], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        ([], "embeddings need sentences of at least one token each"),
        ([[1], []], "embeddings need sentences of at least one token each"),
        ([[1, 50]], "token ids must be 0 to 49, not 50"),
        ([[-1, 3]], "token ids must be 0 to 49, not -1"),
        ([[1] * 17], "a sentence must have at most 16 tokens, not 17"),
    ],
)
def test_bad_sentences_are_refused(batch: list[list[int]], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        encoder().embed(batch)


def test_bad_checkpoints_are_refused() -> None:
    for name in ("embeddings.LayerNorm.bias", "encoder.layer.1.output.dense.bias"):
        rest = {key: data for key, data in tensors().items() if key != name}
        with pytest.raises(ConfigError, match=f"{name} is missing: a BERT checkpoint has it"):
            SentenceEncoder(rest, HEADS)
    with pytest.raises(ConfigError, match="heads must divide the width of 24, not be 5"):
        SentenceEncoder(tensors(), 5)


@pytest.mark.long
def test_minilm_puts_paraphrases_side_by_side() -> None:
    try:
        model, tokenizer = open_plain(minilm()), minilm_tokenizer()
    except ToolError as error:
        warnings.warn(f"MiniLM is not there, nothing checked: {error}", stacklevel=1)
        return
    text = [
        "A man is playing a guitar.",
        "Someone plays the guitar.",
        "The stock market fell sharply today.",
        "Share prices dropped steeply.",
    ]
    tensors = {name: tensor.weights() for name, tensor in model.items() if tensor.dtype == "F32"}
    found = SentenceEncoder(tensors).embed(token_ids(text, tokenizer))
    assert found.shape == (4, 384)
    cosines = found @ found.T
    assert cosines[0, 1] > 0.8
    assert cosines[2, 3] > 0.6
    assert np.abs(cosines[:2, 2:]).max() < 0.2
