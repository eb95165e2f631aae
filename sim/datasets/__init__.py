# SPDX-License-Identifier: Apache-2.0
"""Data for demo, benchmarks and tests: real weights, text and images out of package registries."""

from .drawn import SEED, iid, iid_seeds
from .images import Images, fashion_mnist, mnist
from .models import (
    DEMO_DENSITY,
    DEMO_INDEX_BITS,
    DEMO_LAYER,
    DEMO_TENSORS,
    large_matrices,
    minilm,
    minilm_tokenizer,
)
from .text import moby_dick, moby_dick_sentences, randfacts, simlex999, wordsim353

__all__ = [
    "DEMO_DENSITY",
    "DEMO_INDEX_BITS",
    "DEMO_LAYER",
    "DEMO_TENSORS",
    "SEED",
    "Images",
    "fashion_mnist",
    "iid",
    "iid_seeds",
    "large_matrices",
    "minilm",
    "minilm_tokenizer",
    "mnist",
    "moby_dick",
    "moby_dick_sentences",
    "randfacts",
    "simlex999",
    "wordsim353",
]
