# SPDX-License-Identifier: Apache-2.0
"""How much of a model's embeddings another one keeps."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Likeness", "compare", "rank_correlation"]


@dataclass(frozen=True)
class Likeness:
    """Embeddings beside their reference.

    Parameters
    ----------
    cosine : float
        Mean over the sentences of the cosine between an embedding and its reference.
    cosine_p10 : float
        The cosine that a tenth of the sentences does not reach.
    rank_correlation : float
        Spearman's, of the cosines of all pairs of sentences; 0 where all are equal.
    neighbour : float
        Share of the sentences whose nearest other sentence is the reference's.
    """

    cosine: float
    cosine_p10: float
    rank_correlation: float
    neighbour: float


def compare(reference: np.ndarray, other: np.ndarray) -> Likeness:
    """Compare embeddings of the same sentences.

    Parameters
    ----------
    reference, other : float array of shape (sentences, width)
        Rows of length 1; at least three.
    """
    cosines = (reference * other).sum(axis=1, dtype=np.float64)
    pairs = [np.asarray(x, np.float64) @ np.asarray(x, np.float64).T for x in (reference, other)]
    upper = np.triu_indices(len(reference), 1)
    ranked = rank_correlation(pairs[0][upper], pairs[1][upper])
    for pair in pairs:
        np.fill_diagonal(pair, -np.inf)
    nearest = [pair.argmax(axis=1) for pair in pairs]
    return Likeness(
        cosine=float(cosines.mean()),
        cosine_p10=float(np.quantile(cosines, 0.1)),
        rank_correlation=ranked,
        neighbour=float((nearest[0] == nearest[1]).mean()),
    )


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation of two (n,) arrays; 0 where all of one are equal."""
    ranks = [_ranks(first), _ranks(second)]
    spread = ranks[0].std() * ranks[1].std()
    product = ((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())).mean()
    return float(product / spread) if spread else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of values; equal ones share their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places])
