# SPDX-License-Identifier: Apache-2.0
"""Text of the embedding benchmark: which sentences, and their token ids."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xorloom.sw.base.errors import ConfigError

__all__ = ["CALIBRATION", "HELD_OUT", "Split", "split", "token_ids"]

CALIBRATION = 256
"""Sentences to calibrate with."""
HELD_OUT = 200
"""Sentences to measure on."""
_WORDS = (5, 40)


@dataclass(frozen=True)
class Split:
    """Sentences by use; none is in two parts.

    Parameters
    ----------
    calibration, held_out : list of str
    others : list of str
        The rest, to train with.
    """

    calibration: list[str]
    held_out: list[str]
    others: list[str]


def split(lines: Sequence[str], calibration: int = CALIBRATION, held_out: int = HELD_OUT) -> Split:
    """Split lines of text, the same way every time.

    Taken are lines of 5 to 40 words; of lines that differ in case, spaces and punctuation only, the
    first. They are sorted by the SHA-256 of their UTF-8 text, and dealt out in that order.

    Parameters
    ----------
    lines : sequence of str
        A sentence each, or a few.
    calibration, held_out : int
        Sentences wanted for each.

    Raises
    ------
    ConfigError
        If there are not enough.
    """
    found: dict[str, str] = {}
    for line in map(str.strip, lines):
        if _WORDS[0] <= len(line.split()) <= _WORDS[1]:
            found.setdefault("".join(filter(str.isalnum, line.casefold())), line)
    dealt = sorted(found.values(), key=lambda line: hashlib.sha256(line.encode()).digest())
    end = calibration + held_out
    if len(dealt) < end:
        raise ConfigError(f"{end} sentences are needed, {len(dealt)} of 5 to 40 words are there")
    return Split(dealt[:calibration], dealt[calibration:end], dealt[end:])


def token_ids(sentences: Sequence[str], tokenizer: Path) -> list[list[int]]:
    """Return the token ids of sentences, opening and closing tokens included, none cut off.

    Parameters
    ----------
    sentences : sequence of str
    tokenizer : Path
        JSON file of the tokenizers package.
    """
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(tokenizer))
    made.no_padding()
    made.no_truncation()
    return [encoding.ids for encoding in made.encode_batch(list(sentences))]
