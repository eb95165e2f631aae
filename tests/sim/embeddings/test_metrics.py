# SPDX-License-Identifier: Apache-2.0
"""How much of the embeddings is kept: by hand, and by other formulas."""

import numpy as np
import pytest
from xorloom.sim.embeddings.metrics import compare


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_embeddings_are_all_like_themselves() -> None:
    x = unit(np.random.default_rng(1).standard_normal((30, 8)))
    found = compare(x, x)
    assert (found.cosine, found.cosine_p10) == pytest.approx((1, 1))
    assert (found.rank_correlation, found.neighbour) == pytest.approx((1, 1))


def test_small_case_by_hand() -> None:
    """Angles of 0, 10 and 30 degrees become 0, 10 and 350: sentence 0 keeps its neighbour."""
    first, second = (np.deg2rad(angles) for angles in ([0, 10, 30], [0, 10, -9]))
    x, y = (np.stack([np.cos(a), np.sin(a)], 1) for a in (first, second))
    found = compare(x, y)
    last = np.cos(np.deg2rad(39))
    assert found.cosine == pytest.approx((2 + last) / 3)
    assert found.cosine_p10 == pytest.approx(last + 0.2 * (1 - last))
    # distances of pairs 01, 02, 12: 10, 30, 20 degrees against 10, 9, 19; ranks 3, 1, 2 and 2, 3, 1
    assert found.rank_correlation == pytest.approx(1 - 6 * (1 + 4 + 1) / (3 * 8))
    assert found.neighbour == pytest.approx(1 / 3)


def test_rank_correlation_is_spearmans() -> None:
    """Without ties it is 1 - 6 sum(d**2) / (n (n**2 - 1))."""
    rng = np.random.default_rng(2)
    x = unit(rng.standard_normal((20, 6)))
    y = unit(x + 0.5 * rng.standard_normal((20, 6)))
    pairs = [(z @ z.T)[np.triu_indices(20, 1)] for z in (x, y)]
    d = np.subtract(*(np.argsort(np.argsort(pair)) for pair in pairs))
    n = len(d)
    found = compare(x, y).rank_correlation
    assert found == pytest.approx(1 - 6 * (d * d).sum() / (n * (n * n - 1)))
    assert 0.3 < found < 0.95


def test_equal_embeddings_have_no_order() -> None:
    x = unit(np.random.default_rng(3).standard_normal((5, 4)))
    found = compare(x, np.tile([1.0, 0, 0, 0], (5, 1)))
    assert found.rank_correlation == 0


def test_ties_share_their_rank() -> None:
    x = np.eye(4)
    y = unit(np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]))
    assert compare(y, y).rank_correlation == pytest.approx(1)
    assert compare(x, y).rank_correlation == 0
