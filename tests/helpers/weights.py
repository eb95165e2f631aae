# SPDX-License-Identifier: Apache-2.0
"""Synthetic weights for tests where nothing can be downloaded."""

import numpy as np

__all__ = ["clustered_weights"]


def clustered_weights(rows: int, columns: int, seed: int) -> np.ndarray:
    """Return weights whose rows and columns differ in scale, so that masks cluster as real ones."""
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.normal(0, 0.4, (rows, 1))) * np.exp(rng.normal(0, 0.4, (1, columns)))
    return (rng.normal(0, 0.05, (rows, columns)) * scales).astype(np.float32)
