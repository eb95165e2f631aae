# SPDX-License-Identifier: Apache-2.0
"""The benchmark's sentences: split the same way every time, and their tokens."""

import warnings
from itertools import chain
from pathlib import Path

import pytest
from xorloom.sim.datasets import minilm_tokenizer, randfacts
from xorloom.sim.embeddings.text import Split, split, token_ids
from xorloom.sw.base.errors import ConfigError, ToolError

LINES = [f"This is the sentence with number {n}" for n in range(50)]


def test_split_takes_sensible_lines_once() -> None:
    wrong = ["Four words are few.", " ".join(["many"] * 41), "", "  "]
    again = [LINES[3] + "!", "  " + LINES[4].upper()]
    found = split(LINES + wrong + again, 10, 20)
    parts = found.calibration, found.held_out, found.others
    assert [len(part) for part in parts] == [10, 20, 20]
    assert sorted(chain(*parts)) == sorted(LINES)


def test_split_does_not_depend_on_the_order_of_lines() -> None:
    assert split(LINES[::-1], 10, 20) == split(LINES, 10, 20)
    assert split(LINES, 10, 20).calibration != sorted(LINES)[:10]


def test_split_of_too_few_lines_is_refused() -> None:
    text = "51 sentences are needed, 50 of 5 to 40 words are there"
    with pytest.raises(ConfigError, match=text):
        split(LINES, 1, 50)


@pytest.fixture
def real() -> tuple[Split, Path]:
    """The sentences of the benchmark, and the tokenizer."""
    try:
        return split(randfacts().read_text(encoding="utf-8").splitlines()), minilm_tokenizer()
    except ToolError as error:
        warnings.warn(f"the sentences are not there, nothing checked: {error}", stacklevel=1)
        pytest.skip("no sentences")


def test_sentences_of_the_benchmark_stay_as_they_are(real: tuple[Split, Path]) -> None:
    """Figures in the documentation hold for these."""
    found, tokenizer = real
    parts = found.calibration, found.held_out, found.others
    assert [len(part) for part in parts] == [256, 200, 6539]
    assert len(set(chain(*parts))) == 6995
    assert found.held_out[0] == "There are five years in a quinquennium"
    ids = token_ids(found.held_out, tokenizer)
    assert (sum(map(len, ids)), max(map(len, ids))) == (4086, 48)


def test_tokens_are_those_of_bert(real: tuple[Split, Path]) -> None:
    """Numbers of the published vocabulary of ``bert-base-uncased``."""
    long = "hello " * 300
    ids = token_ids(["Hello, World!", long], real[1])
    assert ids[0] == [101, 7592, 1010, 2088, 999, 102]
    assert ids[1] == [101, *[7592] * 300, 102]
