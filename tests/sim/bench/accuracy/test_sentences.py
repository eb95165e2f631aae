# SPDX-License-Identifier: Apache-2.0
import warnings
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from xorloom.sim.bench.embeddings.methods import Subject
from xorloom.sim.embeddings.encoder import SentenceEncoder
from xorloom.sw.base.errors import CapacityError, ToolError
from xorloom.sw.tensors.checkpoint import from_arrays

from tests.helpers.bert import bert_tensors, sentences

pytest.importorskip("torch")

from xorloom.sim.bench.accuracy.networks import NETWORKS, SENTENCES
from xorloom.sim.bench.accuracy.schedule import Schedule
from xorloom.sim.bench.accuracy.sentences import (
    METHODS,
    Sentences,
    minilm_sentences,
    sentence_rows,
)

WORDS = 40
SCHEDULE = Schedule(16, 10, 0, 3, 3, (3e-3, 1e-9), 1, 0.0, 0.0, 0.0)


@lru_cache
def small() -> Sentences:
    """A small encoder of random weights and random sentences."""
    tensors = bert_tensors(96, 192, 2, WORDS)
    encoder = SentenceEncoder(tensors, 4)
    own = [
        sentences(count, WORDS, 12, seed) for count, seed in ((96, 3), (40, 4), (160, 5), (32, 6))
    ]
    words = [[[1, k, 2] for k in range(first, first + 20)] for first in (0, 20)]
    judged = {name: (words[0], words[1], np.arange(20.0)) for name in ("wordsim353", "simlex999")}
    subject = Subject(from_arrays(tensors), encoder.matrices, encoder, own[0], own[1])
    return Sentences(subject, [*own[0], *own[2]], own[3], judged)


@lru_cache
def rows(method: str, budget: float = 1.6) -> list[dict[str, Any]]:
    return sentence_rows(budget, small(), methods=[method], schedule=SCHEDULE)


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_of_the_file_and_keep_to_the_budget(method: str) -> None:
    for row in rows(method):
        assert row["accuracy_loss_from_codec"] == 0
        assert 0.5 < row["bits_per_weight"] <= 1.6
        assert row["cosine_p10"] <= row["accuracy"] < 1
        assert row["dense_wordsim353"] == row["dense_simlex999"] != row["wordsim353"]
    assert rows(method)[-1]["method"] == method
    assert rows(method)[-1]["epochs"] == 3
    assert (row["seeds"], row["accuracy_std"]) == (1, None)


def test_healing_is_worth_something() -> None:
    before, after = rows("direct-viterbi")
    assert (before["method"], before["epochs"]) == ("direct-untrained", 0)
    assert after["bits_per_weight"] == before["bits_per_weight"]
    assert 1 - after["accuracy"] < 0.97 * (1 - before["accuracy"])


def test_rate_is_chosen_on_the_validation_sentences() -> None:
    before, after = rows("direct-viterbi")
    assert (before["learning_rate"], after["learning_rate"]) == (None, 3e-3)
    own = small()
    changed = replace(own, validation=own.training[:3])
    (_, other) = sentence_rows(1.6, changed, methods=["direct-viterbi"], schedule=SCHEDULE)
    assert other.pop("validation_accuracy") != after["validation_accuracy"]
    assert other == {key: after[key] for key in other}  # the same steps, whatever they took


def test_time_ends_a_training_early() -> None:
    (row,) = sentence_rows(1.6, small(), methods=["dense"], schedule=SCHEDULE, seconds=1e-9)
    assert row["epochs"] == 0


def test_methods_are_those_of_the_network() -> None:
    assert set(NETWORKS[SENTENCES].methods) == set(METHODS)


@pytest.mark.slow
def test_no_sentence_has_two_uses() -> None:
    try:
        found = minilm_sentences()
    except ToolError as error:
        warnings.warn(f"MiniLM or its text is not there: {error}", stacklevel=1)
        return
    parts = (found.training, found.validation, found.subject.held_out)
    assert [len(part) for part in parts[1:]] == [200, 200]
    assert found.training[:1024] == found.subject.calibration
    assert len({tuple(ids) for part in parts for ids in part}) == sum(map(len, parts))


def test_budget_below_scales_and_headers_is_an_error() -> None:
    with pytest.raises(CapacityError, match=r"0.01 bits per weight are too few for scales"):
        rows("direct-viterbi", 0.01)
