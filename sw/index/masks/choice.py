# SPDX-License-Identifier: Apache-2.0
"""Choice: a mask that an index codec chose, and the streams that decode to it."""

from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError, check_range
from xorloom.sw.index.plane import EncodedIndex, decode_index, overhead_bits
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.tensors.orders import check_order, runs

__all__ = ["Choice", "check_choice"]


@dataclass(frozen=True, eq=False)
class Choice:
    """Mask that an index codec chose, and the streams that decode to it.

    Parameters
    ----------
    mask : bool array of the tensor's shape
        True where a weight is kept.
    seeds : bytes
        Memory streams of the index, back to back; they decode to exactly this mask.
    order : str
        Weight order, one of :data:`xorloom.sw.tensors.orders.ORDERS`.
    index : IndexConfig
        Of a codec that chooses masks.
    slices_per_stream : int
        Slices of all streams but the last; 0: one stream.

    Raises
    ------
    ConfigError
        If a part is not what it must be. Whether seeds and mask fit is what
        :func:`check_choice` finds out.
    """

    mask: np.ndarray
    seeds: bytes
    order: str
    index: IndexConfig
    slices_per_stream: int

    def __post_init__(self) -> None:
        if not isinstance(self.mask, np.ndarray) or self.mask.dtype != np.bool_:
            found = getattr(self.mask, "dtype", type(self.mask).__name__)
            raise ConfigError(f"the mask of a choice must be a bool array, not {found}")
        if not isinstance(self.seeds, bytes):
            raise ConfigError(
                f"the seeds of a choice must be bytes, not {type(self.seeds).__name__}"
            )
        if not isinstance(self.index, IndexConfig) or not self.index.chooses_mask:
            found = getattr(self.index, "codec", self.index)
            raise ConfigError(
                f"the index of a choice must choose masks (trellis, lowrank or hashed), not {found}"
            )
        check_order(self.order)
        check_range("slices_per_stream", self.slices_per_stream, 0, 1 << 32)

    @property
    def encoded(self) -> EncodedIndex:
        """The index as it is stored."""
        streams = len(list(runs(self.mask.size, self.index.n_out, self.slices_per_stream)))
        return EncodedIndex(self.seeds, overhead_bits(streams, self.index))

    @property
    def count(self) -> int:
        """Weights kept."""
        return int(np.count_nonzero(self.mask))

    @property
    def bits_per_weight(self) -> float:
        """Bits of the index per weight, headers, CRCs and padding counted."""
        return 8 * len(self.seeds) / max(1, self.mask.size)


def check_choice(choice: Choice, where: str) -> None:
    """Check that the seeds decode to the mask; ``where`` names the tensor.

    Raises
    ------
    FormatError
        If they do not.
    """
    try:
        found = decode_index(
            choice.seeds,
            choice.mask.shape,
            choice.index,
            choice.order,
            choice.slices_per_stream,
            where,
        )
    except ConfigError as error:  # parameters for which there is no network
        raise FormatError(f"{where}: {error}") from error
    wrong = int(np.count_nonzero(found != choice.mask))
    if wrong:
        raise FormatError(
            f"{where}: the seeds decode to another mask, {wrong:,} of {found.size:,} weights "
            "differ: take mask and seeds of one choice"
        )
