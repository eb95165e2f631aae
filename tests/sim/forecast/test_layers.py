# SPDX-License-Identifier: Apache-2.0
"""Names and words of layers that are told together."""

import numpy as np
import pytest
from xorloom.sim.bench.forecast.layers import pattern_of, stem_of, words_of
from xorloom.sw.model.plan.plans import make_plans
from xorloom.sw.model.plan.settings import Settings

from tests.helpers.models import as_model


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["l.0.w", "l.1.w", "l.2.w"], "l.{0..2}.w"),
        (["l.0.w", "l.2.w"], "l.*.w"),
        (["l.7.w"], "l.7.w"),
        (["l.1.e.0", "l.1.e.1", "l.2.e.0", "l.2.e.1"], "l.{1..2}.e.{0..1}"),
        (["12/w", "13/w"], "{12..13}/w"),
        (["block_9.fc1", "block_10.fc1"], "block_{9..10}.fc1"),
    ],
)
def test_names_that_differ_in_numbers_become_one(names, pattern):
    assert len({stem_of(name) for name in names}) == 1
    assert pattern_of(names) == pattern


def test_numbers_within_words_tell_tensors_apart():
    assert stem_of("l.0.fc1.weight") != stem_of("l.0.fc2.weight")
    assert stem_of("l.0.fc1.weight") == stem_of("l.1.fc1.weight")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "bitmap index, 1 bit of 10 %"),
        ({"index": "entropy", "planes": 2}, "entropy index, 2 bits of 10 %"),
        ({"index_bits": 0.1667}, "trellis index, 1 bit of 10 %"),
        ({"value": "block"}, "block, bitmap index, 1 bit of 10 %"),
        ({"value": "direct", "rate": "3/2"}, "direct, 3/2 bits"),
    ],
)
def test_words_tell_codecs_and_rates(values, words):
    model = as_model({"w": np.ones((64, 64), np.float32)})
    plan = make_plans(model, {"w": Settings.of(values)})["w"]
    assert words_of(plan, 0.1) == words
