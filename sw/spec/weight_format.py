# SPDX-License-Identifier: Apache-2.0
"""Weight streams: which index goes with which values, and what a stream must hold."""

from dataclasses import dataclass
from typing import Any

from xorloom.sw.base.errors import ConfigError, FormatError

from .config import ValueConfig
from .index_config import BitmapConfig, IndexConfig, NoneConfig
from .layout import (
    KIND_WEIGHTS,
    WeightHeader,
    network_id,
    schedule_block_words,
    weights_network_id,
)

__all__ = [
    "Decoder",
    "WeightFormat",
    "check_counts",
    "check_index",
    "index_for",
    "mask_lanes",
    "slice_weights",
]


def mask_lanes(value: ValueConfig, planes: int) -> int:
    """Return the mask bits of a slice of the value codec."""
    return value.n_out // planes if value.has_layouts else value.n_out


def index_for(value: ValueConfig, planes: int) -> IndexConfig:
    """Return the plain index that goes with a value decoder: a bitmap, or none."""
    plain = NoneConfig if value.chooses_values else BitmapConfig
    return plain(n_out=mask_lanes(value, planes), bus_bits=value.bus_bits)


def check_index(index: IndexConfig, value: ValueConfig, planes: int) -> None:
    """Check that an index decoder goes with a value decoder.

    Raises
    ------
    ConfigError
        If their slices or buses differ, or the value codec goes with other indexes.
    """
    value.check_planes(planes)
    if value.indexes and index.codec not in value.indexes:
        raise ConfigError(
            f"the {index.codec} index goes with the window value codec: the {value.codec} codec "
            f"takes the {' or '.join(value.indexes)} index"
        )
    if index.n_out != mask_lanes(value, planes) or index.bus_bits != value.bus_bits:
        raise ConfigError(
            f"an index of n_out {index.n_out} and bus_bits {index.bus_bits} does not go with "
            f"slices of {mask_lanes(value, planes)} weights and bus_bits {value.bus_bits}"
        )


@dataclass(frozen=True)
class Decoder:
    """Decoder of a tensor: the parameters that its value and index streams were made for.

    Parameters
    ----------
    value : ValueConfig
    index : IndexConfig
        Goes with the values of tensors of some number of planes, see :func:`check_index`.
    """

    value: ValueConfig
    index: IndexConfig

    def to_dict(self) -> dict[str, Any]:
        """Return names and parameters of both codecs, JSON-able."""
        return {
            "codec": self.value.codec,
            "config": self.value.to_dict(),
            "index": {"codec": self.index.codec, "config": self.index.to_dict()},
        }


@dataclass(frozen=True)
class WeightFormat:
    """Format of weight streams: what one decoder is made for.

    Parameters
    ----------
    value : ValueConfig
        Not of the block codec.
    planes : int
        Bits of a weight's code.
    index : IndexConfig

    Raises
    ------
    ConfigError
        If the index does not go with the values.
    """

    value: ValueConfig
    planes: int
    index: IndexConfig

    def __post_init__(self) -> None:
        if not self.value.has_layouts:
            raise ConfigError(
                f"weight streams need the window or direct value codec, not {self.value.codec}: "
                "compress with --value window"
            )
        check_index(self.index, self.value, self.planes)

    @property
    def kind(self) -> int:
        """Kind of its streams."""
        return KIND_WEIGHTS + self.index.kind

    @property
    def network(self) -> int:
        """Network id of its streams."""
        return weights_network_id(self.value, self.planes, self.index)

    @property
    def index_network(self) -> int:
        """Network id of the index streams."""
        return network_id(self.index) if self.index.has_network else 0


def slice_weights(count: int, form: WeightFormat, where: str = "stream") -> int:
    """Return the weights of a stream of ``count`` slice bits.

    Raises
    ------
    FormatError
        If no number of weights gives that count.
    """
    full, rest = divmod(count - 1, form.value.n_out)
    last, odd = divmod(rest + 1, form.planes)
    if count < 1 or (odd and rest + 1 != form.value.n_out):
        raise FormatError(
            f"{where}: count of {count} slice bits is no whole number of weights, or none"
        )
    return full * (form.value.n_out // form.planes) + last


def check_counts(header: WeightHeader, bus_bytes: int, where: str) -> None:
    """Check what a header says of its stream's size.

    Raises
    ------
    FormatError
        If no stream has such numbers.
    """
    most = schedule_block_words(bus_bytes) + 1
    if header.blocks < 2 or not header.count or not all(1 <= n <= most for n in header.first):
        raise FormatError(
            f"{where}: a stream has slice bits, at least 2 blocks, and 1 to {most} words in the "
            f"first ones; found count {header.count}, blocks {header.blocks}, first words "
            f"{header.first[0]} and {header.first[1]}"
        )
