# SPDX-License-Identifier: Apache-2.0
"""Choice of the hashed index's seed: of all seeds the one whose mask is worth most.

Masks of different seeds are worth nearly the same, and the search gains little. But a network that
was trained under a mask has its zeros where that mask has them: then the search finds its seed.
"""

import numpy as np
from xorloom.sw.spec.hashed import HashedConfig

from .masks import SEEDS, masks_of, seed_mask, states_of_all_seeds

__all__ = ["best_seed"]

_PROBE = 512
"""Weights by which all seeds are judged; fewer than this is one beat."""
_PROBE_BEATS = 256
"""The probe is of the first so many beats."""
_TRIES = 8
"""Seeds that are judged by all weights."""
_PART = 1 << 12
"""Seeds that are judged at once."""


def _worth_of_all_seeds(
    importance: np.ndarray, above: np.ndarray, config: HashedConfig
) -> np.ndarray:
    """Return what every seed's mask keeps of a few beats, those with most importance."""
    head = importance[:_PROBE_BEATS]
    beats = np.argsort(-head.sum(axis=1, dtype=np.float64), kind="stable")
    worth = np.zeros(SEEDS, np.float32)
    for beat in beats[: max(1, _PROBE // config.n_out)].tolist():
        states = states_of_all_seeds(beat, config)
        for first in range(0, SEEDS, _PART):
            part = slice(first, first + _PART)
            worth[part] += above[beat] @ masks_of(states[part], config).astype(np.float32)
    return worth


def best_seed(importance: np.ndarray, count: int, config: HashedConfig) -> tuple[int, np.ndarray]:
    """Return the seed whose mask keeps most, as far as is known, and its mask.

    What counts is the importance above the mean: a mask that keeps more weights is no better.

    Parameters
    ----------
    importance : (beats, n_out) float32, not negative
    count : int
        Weights that there are: the first so many places.
    config : HashedConfig

    Returns
    -------
    (seed, mask) : int and (beats, n_out) bool array
        False where there is no weight.
    """
    if not count:
        return 0, np.zeros(importance.shape, np.bool_)
    above = importance - np.float32(importance.sum(dtype=np.float64) / count)
    above.reshape(-1)[count:] = 0
    order = np.argsort(-_worth_of_all_seeds(importance, above, config), kind="stable")
    found = (-np.inf, 0, np.zeros(0, np.bool_))
    for seed in order[:_TRIES].tolist():
        mask = seed_mask(seed, len(importance), config)
        mask.reshape(-1)[count:] = False
        worth = float(above.sum(where=mask, dtype=np.float64))
        if worth > found[0]:
            found = (worth, seed, mask)
        if not np.any(importance, where=~mask):
            break  # a trained network under its own mask
    return found[1:]
