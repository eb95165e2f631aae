# SPDX-License-Identifier: Apache-2.0
"""Kept weights: what the masks of a compressed model keep, beside the bound and N:M patterns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from xorloom.sw.index.rate_distortion import (
    kept_share,
    nm_energy,
    nm_index_bits,
    share_bound,
)
from xorloom.sw.model.metrics import TensorBits
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.quantize import Quantized

__all__ = ["KEPT_COLUMNS", "KeptReport", "best_pattern", "kept_row"]

PATTERNS = ((1, 2), (1, 4), (2, 8), (1, 8), (4, 32), (1, 16), (4, 64), (1, 32), (1, 64))
"""N:M patterns to compare with."""
KEPT_COLUMNS = (
    "tensor",
    "density",
    "index_bits",
    "kept",
    "kept_bound",
    "energy",
    "energy_total",
    "pattern",
    "pattern_energy_total",
)


def best_pattern(weights: np.ndarray, budget: float, planes: int) -> tuple[str, float]:
    """Return the N:M pattern that keeps most energy within a budget, and the share it keeps.

    Parameters
    ----------
    weights : array of any shape
    budget : float
        Bits per weight: index, and ``planes`` bits per kept weight.
    """
    fits = [
        (n, m)
        for n, m in PATTERNS
        if m <= weights.size and nm_index_bits(n, m) + planes * n / m <= budget
    ]
    energy = np.square(weights.reshape(-1), dtype=np.float64) if fits else np.zeros(0)
    total = float(energy.sum())
    best = ("none", 0.0)
    for n, m in fits:
        share = nm_energy(energy, n, m) / total if total else 1.0
        if share > best[1]:
            best = (f"{n}:{m}", share)
    return best


def kept_row(
    name: str, weights: np.ndarray, mask: np.ndarray, index_bits: float, planes: int
) -> dict[str, Any]:
    """Measure one mask; ``index_bits`` are all bits that its index takes, per weight.

    ``kept`` and ``energy`` are shares of what as many of the largest weights have, ``kept_bound``
    is the most that a mask of that density and rate can keep if weights have no memory;
    ``energy_total`` is the share of all energy, also for the N:M pattern of at most the same bits.
    """
    kept = kept_share(weights, mask)
    density = min(max(kept.density, 1e-6), 1 - 1e-6)
    pattern, pattern_energy = best_pattern(weights, index_bits + planes * kept.density, planes)
    return {
        "tensor": name,
        "density": kept.density,
        "index_bits": index_bits,
        "kept": kept.magnitude,
        "kept_bound": share_bound(np.abs(weights), density, index_bits),
        "energy": kept.energy,
        "energy_total": kept.energy_total,
        "pattern": pattern,
        "pattern_energy_total": pattern_energy,
    }


class KeptReport:
    """What all masks keep, row by row as a model is compressed: goes in as ``done``.

    Parameters
    ----------
    source : mapping of name to ModelTensor
        The original weights.

    Members
    -------
    rows : list of dict
        See :func:`kept_row`; in the order of ``source``, whatever was done first.
    """

    def __init__(self, source: Mapping[str, ModelTensor]) -> None:
        self._source = source
        self._rows: dict[str, dict[str, Any]] = {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows so far."""
        return [self._rows[name] for name in self._source if name in self._rows]

    def __call__(self, name: str, quantized: Quantized, bits: TensorBits) -> None:
        """Add a tensor's row."""
        index = bits.index / max(1, bits.weights)
        weights = self._source[name].weights()
        self._rows[name] = kept_row(name, weights, quantized.mask, index, bits.planes)
