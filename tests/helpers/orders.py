# SPDX-License-Identifier: Apache-2.0
"""Weight orders in plain Python."""

from xorloom.sw.tensors.orders import lanes, slice_count


def slices_of(order, weights, per_slice):
    """Weights of every slice, lane by lane: the docstring of ``Lanes`` in plain Python."""
    where = lanes(order, weights, per_slice)
    found = []
    for e in range(slice_count(weights, per_slice)):
        found.append([])
        for start, length, turn in zip(where.start, where.length, where.turn, strict=True):
            if e < length:
                found[-1].append(int(start) + where.step * ((e + int(turn)) % int(length)))
    return found
