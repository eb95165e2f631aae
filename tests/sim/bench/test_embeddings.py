# SPDX-License-Identifier: Apache-2.0
"""``bench embeddings``: rows of small models, and what MiniLM-L6 keeps."""

import json
import warnings

import numpy as np
import pytest
from xorloom.sim.bench import embeddings
from xorloom.sim.bench.embeddings import (
    METHODS,
    Compressed,
    Method,
    Subject,
    embedding_rows,
    minilm_subject,
)
from xorloom.sim.embeddings.encoder import SentenceEncoder
from xorloom.sw.base.errors import ToolError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.tensors.checkpoint import from_arrays

from tests.helpers.bert import bert_tensors, sentences
from tests.helpers.cli import refuses, xorloom

KEYS = ["method", "codec", "rate_bits", "bits_per_weight", "cosine", "cosine_p10"]
KEYS += ["rank_correlation", "neighbour", "calibration", "rotation"]


def small() -> Subject:
    encoder = SentenceEncoder(bert_tensors(96, 192, 1, 60), 4)
    matrices = from_arrays({name: encoder.tensors[name] for name in encoder.matrices})
    return Subject(matrices, encoder, sentences(7, 60, 12, seed=3), sentences(20, 60, 12))


def test_rows_tell_what_a_method_gives_back() -> None:
    """A made-up method; the figures are those of the definitions."""
    subject = small()
    name = subject.encoder.matrices[-1]
    bias = name.removesuffix("weight") + "bias"
    weights = sum(tensor.size for tensor in subject.matrices.values())

    def compress(given: Subject) -> Compressed:
        tensors = given.encoder.tensors
        changed = {bias: tensors[bias] + 1}
        return Compressed({name: 0 * tensors[name]}, 5 * weights, changed)

    same = Method("none", 32, lambda _: Compressed({}, 32 * weights))
    methods = {"same": same, "zero": Method("zero", 5, compress, calibration=True, rotation=True)}
    first, second = embedding_rows(subject, methods)
    assert list(first) == list(second) == KEYS
    assert (first["cosine"], first["rank_correlation"]) == pytest.approx((1, 1))
    assert (first["bits_per_weight"], first["neighbour"], first["calibration"]) == (32, 1, 0)
    assert [second[key] for key in KEYS[:4]] == ["zero", "zero", 5, 5]
    assert (second["calibration"], second["rotation"]) == (7, True)
    x = subject.encoder.embed(subject.held_out)
    tensors = subject.encoder.tensors
    other = SentenceEncoder(tensors | {name: 0 * tensors[name], bias: tensors[bias] + 1}, 4)
    cosine = (x * other.embed(subject.held_out)).sum(1).mean()
    assert second["cosine"] == pytest.approx(float(cosine), abs=1e-6)
    assert (subject.encoder.embed(subject.held_out) == x).all()


def test_methods_compress_through_a_file_and_count_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data_bits = {}

    def watched(model, path, spec):
        made = compress_model(model, path, spec)
        header = int.from_bytes(path.read_bytes()[:8], "little")
        data_bits[spec.quantizer] = 8 * (path.stat().st_size - 8 - header)
        return made

    monkeypatch.setattr(embeddings, "compress_model", watched)
    subject = small()
    names = ["binary-1", "binary-2", "uniform-8", "entropy-0.6-binary-4"]
    rows = embedding_rows(subject, {name: METHODS[name] for name in names})
    weights = sum(tensor.size for tensor in subject.matrices.values())
    found = [row["bits_per_weight"] * weights for row in rows]
    assert found == pytest.approx(list(data_bits.values()))
    for row in rows:
        assert row["rate_bits"] < row["bits_per_weight"] < row["rate_bits"] + 1.2
    cosines = [row["cosine"] for row in rows]
    assert cosines[0] < cosines[1] < cosines[2]
    assert 0.999 < cosines[2] < 1


def test_unknown_method_is_refused() -> None:
    text = "method must be one of binary-1, binary-2, "
    refuses(text, "bench", "embeddings", "--method", "none")


@pytest.mark.slow
def test_minilm_keeps_more_with_more_bits() -> None:
    try:
        subject = minilm_subject(quick=True)
    except ToolError as error:
        warnings.warn(f"MiniLM is not there, nothing checked: {error}", stacklevel=1)
        return
    reference = subject.encoder.embed(subject.held_out)
    assert (len(subject.calibration), len(subject.held_out)) == (256, 40)
    assert abs((reference @ reference.T)[np.triu_indices(40, 1)].mean()) < 0.1
    found = json.loads(xorloom("bench", "embeddings", "--quick", "--json")[0])
    rows = {row["method"]: row for row in found}
    assert list(rows) == list(METHODS)
    cosines = [rows[f"binary-{planes}"]["cosine"] for planes in (1, 2, 3)]
    assert 0.8 < cosines[0] < cosines[1] < cosines[2] < 1
    assert rows["uniform-8"]["cosine"] > 0.999
    table = xorloom("bench", "embeddings", "--quick", "--method", "binary-1")[0]
    assert "cosine_p10" in table
