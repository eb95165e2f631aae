# SPDX-License-Identifier: Apache-2.0
"""Sample of a tensor's slices, for choices that need not see them all."""

import numpy as np

__all__ = ["runs_from_everywhere", "slices_from_everywhere"]


def runs_from_everywhere(live: int, lanes: int, run: int, most: int) -> list[tuple[int, int]]:
    """Return runs of slices from all over a tensor, or one of all its slices if they are few.

    Parameters
    ----------
    live : int
        Weights of the tensor.
    lanes : int
        Weights of a slice.
    run : int
        Slices that are taken in a row.
    most : int
        Slices to take at most; at least one run is taken.

    Returns
    -------
    list of (int, int)
        First slice and number of slices of every run.
    """
    parts = max(1, most // run)
    whole, slices = live // lanes, -(-live // lanes)
    if slices <= parts * run or whole <= run:
        return [(0, slices)]
    edges = np.linspace(0, whole - run, parts + 1)
    # Anywhere between two edges: even steps could fall in with the rows of the tensor.
    places = np.random.default_rng(0).uniform(edges[:-1], edges[1:]).astype(np.int64)
    return [(place, run) for place in places.tolist()]


def slices_from_everywhere(
    slices: np.ndarray, live: int, run: int, most: int
) -> tuple[np.ndarray, int]:
    """Return such runs of the slices of a tensor.

    Parameters
    ----------
    slices : (slices, lanes), any dtype
    live, run, most : int
        See :func:`runs_from_everywhere`.

    Returns
    -------
    (sample, live) : (slices, lanes) array and int
        The sample's weights are its first ``live`` places.
    """
    found = runs_from_everywhere(live, slices.shape[1], run, most)
    if found == [(0, len(slices))]:
        return slices, live
    sample = np.concatenate([slices[first : first + count] for first, count in found])
    return sample, sample.size
