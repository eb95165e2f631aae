# SPDX-License-Identifier: Apache-2.0
"""Sample of a tensor's slices, for choices that need not see them all."""

import numpy as np

__all__ = ["slices_from_everywhere"]


def slices_from_everywhere(
    slices: np.ndarray, live: int, run: int, most: int
) -> tuple[np.ndarray, int]:
    """Return runs of slices from all over a tensor, or all slices if they are few.

    Parameters
    ----------
    slices : (slices, n_out), any dtype
    live : int
        Weights: the first so many places.
    run : int
        Slices that are taken in a row.
    most : int
        Slices to take at most; at least one run is taken.

    Returns
    -------
    (sample, live) : (slices, n_out) array and int
    """
    parts = max(1, most // run)
    whole = live // slices.shape[1] if slices.size else 0
    if len(slices) <= parts * run or whole <= run:
        return slices, live
    edges = np.linspace(0, whole - run, parts + 1)
    # Anywhere between two edges: even steps could fall in with the rows of the tensor.
    places = np.random.default_rng(0).uniform(edges[:-1], edges[1:]).astype(np.int64)
    sample = np.concatenate([slices[place : place + run] for place in places])
    return sample, sample.size
