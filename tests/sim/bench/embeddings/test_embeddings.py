# SPDX-License-Identifier: Apache-2.0
"""``bench embeddings``: rows of small models, and what MiniLM-L6 keeps."""

import json
import warnings

import numpy as np
import pytest
from xorloom.sim.bench.embeddings import (
    METHODS,
    Method,
    Subject,
    embedding_rows,
    methods,
    minilm_subject,
)
from xorloom.sim.bench.embeddings.methods import Compressed
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
    biases = [name.removesuffix("weight") + "bias" for name in encoder.matrices]
    model = from_arrays({name: encoder.tensors[name] for name in [*encoder.matrices, *biases]})
    calibration, held_out = sentences(40, 60, 12, seed=3), sentences(20, 60, 12)
    return Subject(model, encoder.matrices, encoder, calibration, held_out)


def test_rows_tell_what_a_method_gives_back() -> None:
    """A made-up method; the figures are those of the definitions."""
    subject = small()
    name = subject.encoder.matrices[-1]
    bias = name.removesuffix("weight") + "bias"
    assert subject.weights == 4 * 96 * 96 + 2 * 96 * 192

    def compress(given: Subject) -> Compressed:
        tensors = given.encoder.tensors
        changed = {name: 0 * tensors[name], bias: tensors[bias] + 1}
        return Compressed(changed, 5 * given.weights)

    same = Method("none", 32, lambda given: Compressed({}, 32 * given.weights))
    methods = {"same": same, "zero": Method("zero", 5, compress, calibration=True, rotation=True)}
    first, second = embedding_rows(subject, methods)
    assert list(first) == list(second) == KEYS
    assert (first["cosine"], first["rank_correlation"]) == pytest.approx((1, 1))
    assert (first["bits_per_weight"], first["neighbour"], first["calibration"]) == (32, 1, 0)
    assert [second[key] for key in KEYS[:4]] == ["zero", "zero", 5, 5]
    assert (second["calibration"], second["rotation"]) == (40, True)
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
    subject = small()
    biases = sum(tensor.size for tensor in subject.model.values()) - subject.weights

    def watched(model, path, plans, **options):
        made = compress_model(model, path, plans, **options)
        header = int.from_bytes(path.read_bytes()[:8], "little")
        stored = 8 * (path.stat().st_size - 8 - header) - 32 * biases
        data_bits[plans[subject.matrices[0]].quantizer] = stored
        return made

    monkeypatch.setattr(methods, "compress_model", watched)
    names = ["binary-1", "binary-2", "uniform-8", "entropy-0.6-binary-4", "direct-2-rotated"]
    monkeypatch.setattr(methods, "threads_default", lambda: 1)
    rows = embedding_rows(subject, {name: METHODS[name] for name in names})
    found = [row["bits_per_weight"] * subject.weights for row in rows]
    assert found == pytest.approx(list(data_bits.values()))
    for row in rows:
        assert row["rate_bits"] < row["bits_per_weight"] < row["rate_bits"] + 1.2
    cosines = [row["cosine"] for row in rows]
    assert cosines[0] < cosines[1] < cosines[2]
    assert 0.999 < cosines[2] < 1


def test_calibration_keeps_more() -> None:
    """Of the same codec and rotation; scalar levels of as many bits keep less."""
    names = ["direct-2-rotated", "direct-2-rotated-calibrated", "scalar-2-rotated-calibrated"]
    subject = small()
    before = {name: data.copy() for name, data in subject.encoder.tensors.items()}
    plain, both, scalar = embedding_rows(subject, {name: METHODS[name] for name in names})
    assert [row["calibration"] for row in (plain, both, scalar)] == [0, 40, 40]
    assert plain["bits_per_weight"] == both["bits_per_weight"]
    assert max(plain["cosine"], scalar["cosine"]) < both["cosine"] < 1
    bits = 2 * subject.weights + 16 * (5 * 96 + 192) + 6 * 4 * 8
    assert scalar["bits_per_weight"] * subject.weights == pytest.approx(bits)
    assert all((subject.encoder.tensors[name] == data).all() for name, data in before.items())


@pytest.mark.parametrize("calibrated", [False, True])
def test_calibrated_file_holds_what_calibration_went_through(
    calibrated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of the walk, and its biases, are those that decompressing gives back."""
    subject, walked = small(), {}
    collected = methods._collected

    def watched(*arguments):
        made = collected(*arguments)
        walked.update(made[1])
        return made

    monkeypatch.setattr(methods, "_collected", watched)
    name = "direct-2-rotated" + "-calibrated" * calibrated
    found = METHODS[name].compress(subject).tensors
    assert bool(walked) == calibrated
    for key, data in walked.items():
        assert np.allclose(found[key], data, rtol=1e-5, atol=1e-6), key
    changed = [key for key in found if (found[key] != subject.encoder.tensors[key]).any()]
    assert sorted(changed) == sorted(found if calibrated else subject.matrices)


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
    names = ["binary-1", "binary-2", "binary-3", "uniform-8"]
    names += [f"{codec}-2-rotated-calibrated" for codec in ("direct", "scalar")]
    options = [word for name in names for word in ("--method", name)]
    found = json.loads(xorloom("bench", "embeddings", "--quick", *options, "--json")[0])
    rows = {row["method"]: row for row in found}
    assert list(rows) == names
    cosines = [rows[f"binary-{planes}"]["cosine"] for planes in (1, 2, 3)]
    assert 0.8 < cosines[0] < cosines[1] < cosines[2] < 1
    assert rows["uniform-8"]["cosine"] > 0.999
    direct, scalar = (rows[name]["cosine"] for name in names[-2:])
    assert cosines[1] < scalar < direct
    table = xorloom("bench", "embeddings", "--quick", "--method", "binary-1")[0]
    assert "cosine_p10" in table
