# SPDX-License-Identifier: Apache-2.0
"""Memory image: the weight streams of a model's tensors, back to back, as a decoder reads them.

A tensor is one region, that is, one descriptor of the decoder's read master.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError, check_range
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.model.container import INDEX, STREAM, Container
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.spec.layout import WEIGHT_HEADER_BYTES, WeightHeader, network_id, padded
from xorloom.sw.spec.weight_format import Decoder, WeightFormat, slice_weights

from .weight_stream import join_tensor, split_weight_streams

__all__ = ["ALIGN_BYTES_MAX", "MemoryImage", "Region", "memory_image", "weight_format"]

ALIGN_BYTES_MAX = 1 << 20
_LENGTH_MAX = (1 << 32) - 1
"""What the decoder's LENGTH register holds."""


@dataclass(frozen=True)
class Region:
    """Region of a memory image: where one tensor lies.

    Parameters
    ----------
    name : str
    offset, length : int
        Bytes; a tensor without weights has length 0 and nothing to start.
    weights, slices, streams : int
    crc32 : int
        Of the region's bytes.
    """

    name: str
    offset: int
    length: int
    weights: int
    slices: int
    streams: int
    crc32: int


@dataclass(frozen=True)
class MemoryImage:
    """Memory image: its bytes, and the table of what they are.

    Parameters
    ----------
    data : bytes
        Whole bus words; what lies between regions is zero.
    regions : tuple of Region
        In the order of their offsets.
    form : WeightFormat
        The decoder that reads them.
    align_bytes : int
        Every offset is a multiple of it.
    """

    data: bytes
    regions: tuple[Region, ...]
    form: WeightFormat
    align_bytes: int

    @property
    def kind(self) -> int:
        """Kind of the index."""
        return self.form.index.kind

    def table(self) -> dict[str, Any]:
        """Return all but the bytes, JSON-able."""
        form = self.form
        return {
            "version": 1,
            "bytes": len(self.data),
            "crc32": zlib.crc32(self.data),
            "align_bytes": self.align_bytes,
            "bus_bits": form.value.bus_bits,
            "planes": form.planes,
            **Decoder(form.value, form.index).to_dict(),
            "kind": form.kind,
            "network_id": f"{form.network:08x}",
            "value_network_id": f"{network_id(form.value):08x}",
            "tensors": [asdict(region) for region in self.regions],
        }

    def c_header(self) -> str:
        """Return C99 source: an array of names, offsets and lengths."""
        rows = [
            f"    {{{_c_string(region.name)}, {region.offset}u, {region.length}u}},"
            for region in self.regions
        ]
        lines = [
            # In two parts, so that tools find one licence line in this file.
            "/* SPDX-" + "License-Identifier: Apache-2.0 */",
            "/* Where the tensors lie in a memory image of xorloom weight streams. Generated. */",
            "#ifndef XORLOOM_IMAGE_H",
            "#define XORLOOM_IMAGE_H",
            "",
            "#include <stdint.h>",
            "",
            f"#define XORLOOM_IMAGE_BYTES {len(self.data)}u",
            f"#define XORLOOM_IMAGE_ALIGN {self.align_bytes}u",
            f"#define XORLOOM_IMAGE_BUS_BITS {self.form.value.bus_bits}u",
            f"#define XORLOOM_IMAGE_KIND {self.kind}u",
            f"#define XORLOOM_IMAGE_NETWORK 0x{network_id(self.form.value):08x}u",
            f"#define XORLOOM_IMAGE_TENSORS {len(self.regions)}u",
            "",
            "struct xorloom_image_region {",
            "    const char *name;",
            "    uint64_t offset;",
            "    uint32_t length;",
            "};",
            "",
            "static const struct xorloom_image_region xorloom_image[] = {",
            *rows,
            "};",
            "",
            "#endif /* XORLOOM_IMAGE_H */",
        ]
        return "\n".join(lines) + "\n"


def _c_string(text: str) -> str:
    """Quote text for C; an octal escape ends after three digits, whatever follows it."""
    return (
        '"'
        + "".join(
            chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}"
            for byte in text.encode()
        )
        + '"'
    )


def weight_format(container: Container, names: Sequence[str] = ()) -> WeightFormat:
    """Return the decoder of weight streams that reads these tensors; none named: all.

    Raises
    ------
    ConfigError
        If they have the block codec, several decoders or bit widths, or there is none.
    """
    decoder = container.decoder(names)
    value = decoder.value
    if isinstance(value, BlockConfig):
        raise ConfigError(
            f"{container.path}: the block codec has no weight streams: compress with --value window"
        )
    planes = {container.tensor(name).planes for name in names or container.tensors}
    if len(planes) != 1:
        raise ConfigError(
            f"{container.path}: a decoder reads weights of one number of bits, these tensors have "
            f"{' and '.join(map(str, sorted(planes)))}: name tensors of one of them"
        )
    return WeightFormat(value, planes.pop(), decoder.index)


def memory_image(
    container: Container,
    names: Sequence[str] = (),
    *,
    align_bytes: int = 64,
    progress: Progress = no_progress,
) -> MemoryImage:
    """Join the value and index streams of tensors, one region per tensor.

    Parameters
    ----------
    container : Container
    names : sequence of str
        Tensors, in this order; none: all that are compressed, in the model's order.
    align_bytes : int, a power of two up to 2**20
    progress : callable
        Called after every tensor with ``image`` and its name.

    Raises
    ------
    ConfigError
        If there is no such tensor, a name comes twice, or the model has no weight streams.
    FormatError
        If the model is damaged.
    CapacityError
        If a region is 4 GiB long or more.
    """
    check_range("align_bytes", align_bytes, 1, ALIGN_BYTES_MAX)
    if align_bytes & (align_bytes - 1):
        raise ConfigError(f"align_bytes must be a power of two, not {align_bytes}")
    names = list(names or container.tensors)
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ConfigError(f"tensor {twice[0]!r} is asked for more than once")
    form = weight_format(container, names)
    parts: list[bytes] = []
    regions: list[Region] = []
    at = 0
    for name in names:
        data, region = _region(container, form, name, padded(at, align_bytes))
        parts += [bytes(region.offset - at), data]
        regions.append(region)
        at = region.offset + region.length
        progress("image", name)
    return MemoryImage(b"".join(parts), tuple(regions), form, align_bytes)


def _region(
    container: Container, form: WeightFormat, name: str, offset: int
) -> tuple[bytes, Region]:
    """Join one tensor's streams."""
    where = f"{container.path}: {name}"
    data, _ = join_tensor(container.raw(name + STREAM), container.raw(name + INDEX), form, where)
    if len(data) > _LENGTH_MAX:
        raise CapacityError(f"{where}: weight streams of {len(data)} bytes: a region has 32 bits")
    streams = split_weight_streams(data, form.value.bus_bytes, where)
    counts = [WeightHeader.unpack(stream[:WEIGHT_HEADER_BYTES], where).count for stream in streams]
    found = sum(slice_weights(count, form, where) for count in counts)
    weights = math.prod(container.tensor(name).shape)
    if found != weights:
        raise FormatError(f"{where}: streams must hold {weights} weights, found {found}")
    slices = sum(-(-count // form.value.n_out) for count in counts)
    crc = zlib.crc32(data)
    return data, Region(name, offset, len(data), weights, slices, len(streams), crc)
