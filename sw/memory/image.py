# SPDX-License-Identifier: Apache-2.0
"""Memory image: the weight streams of a model's tensors, back to back, as a decoder reads them.

A tensor is one region, that is, one descriptor of the decoder's read master.
"""

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError, check_range
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.model.container import INDEX, STREAM, Container
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import (
    KIND_WEIGHTS,
    WEIGHT_HEADER_BYTES,
    WeightHeader,
    network_id,
    padded,
)
from xorloom.sw.spec.weight_format import WeightFormat, slice_weights
from xorloom.sw.tensors.checkpoint.model import listed

from .weight_stream import join_tensor, split_weight_streams

__all__ = ["ALIGN_BYTES_MAX", "MemoryImage", "Region", "memory_image", "weight_formats"]

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
    form : WeightFormat
        What reads its streams; the regions of an image differ in the index only.
    """

    name: str
    offset: int
    length: int
    weights: int
    slices: int
    streams: int
    crc32: int
    form: WeightFormat

    def to_dict(self) -> dict[str, Any]:
        """Return what the table says of it, JSON-able."""
        index = self.form.index
        return {
            "name": self.name,
            "offset": self.offset,
            "length": self.length,
            "weights": self.weights,
            "slices": self.slices,
            "streams": self.streams,
            "crc32": self.crc32,
            "kind": self.form.kind,
            "network_id": f"{self.form.network:08x}",
            "index": {"codec": index.codec, "config": index.to_dict()},
        }


@dataclass(frozen=True)
class MemoryImage:
    """Memory image: its bytes, and the table of what they are.

    Parameters
    ----------
    data : bytes
        Whole bus words; what lies between regions is zero.
    regions : tuple of Region
        In the order of their offsets.
    align_bytes : int
        Every offset is a multiple of it.
    """

    data: bytes
    regions: tuple[Region, ...]
    align_bytes: int

    @property
    def forms(self) -> tuple[WeightFormat, ...]:
        """What the decoder must read, each once: one for every index codec."""
        return tuple(dict.fromkeys(region.form for region in self.regions))

    @property
    def value(self) -> ValueConfig:
        """Value codec's parameters, those of all regions."""
        return self.regions[0].form.value

    @property
    def planes(self) -> int:
        """Bits of a weight's code."""
        return self.regions[0].form.planes

    @property
    def kinds(self) -> int:
        """Kinds of index, as the decoder's register KINDS says them: bit k is kind k."""
        return sum(1 << form.index.kind for form in self.forms)

    def table(self) -> dict[str, Any]:
        """Return all but the bytes, JSON-able."""
        value = self.value
        return {
            "version": 2,
            "bytes": len(self.data),
            "crc32": zlib.crc32(self.data),
            "align_bytes": self.align_bytes,
            "bus_bits": value.bus_bits,
            "planes": self.planes,
            "codec": value.codec,
            "config": value.to_dict(),
            "value_network_id": f"{network_id(value):08x}",
            "tensors": [region.to_dict() for region in self.regions],
        }

    def c_header(self) -> str:
        """Return C99 source: an array of names, offsets, lengths and kinds.

        Raises
        ------
        ConfigError
            If a name has a NUL, which ends a string of C.
        """
        rows = [
            f"    {{{_c_string(region.name)}, {region.offset}u, {region.length}u, "
            f"{region.form.kind}u}},"
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
            f"#define XORLOOM_IMAGE_BUS_BITS {self.value.bus_bits}u",
            f"#define XORLOOM_IMAGE_PLANES {self.planes}u",
            "/* Bits that the register KINDS must have, and what NETWORK must be. */",
            f"#define XORLOOM_IMAGE_KINDS 0x{self.kinds:x}u",
            f"#define XORLOOM_IMAGE_NETWORK 0x{network_id(self.value):08x}u",
            f"#define XORLOOM_IMAGE_TENSORS {len(self.regions)}u",
            "",
            "struct xorloom_image_region {",
            "    const char *name;",
            "    uint64_t offset;",
            "    uint32_t length;",
            f"    uint32_t kind; /* of its streams: {KIND_WEIGHTS} more than that of the index */",
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
    if "\0" in text:
        raise ConfigError(f"tensor {text!r} cannot be named in C (NUL): leave the C header out")
    return (
        '"'
        + "".join(
            chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}"
            for byte in text.encode()
        )
        + '"'
    )


def weight_formats(container: Container, names: Iterable[str] = ()) -> dict[str, WeightFormat]:
    """Return by which decoder of weight streams each of these tensors is read; none named: all.

    One decoder reads them all: it has one value decoder, and an index decoder for every index
    codec.

    Raises
    ------
    ConfigError
        If there is none, they have the block codec, or one decoder cannot read them all.
    """
    names = list(names or container.tensors)
    if not names:
        raise ConfigError(f"{container.path}: no tensor is compressed")
    forms: dict[str, WeightFormat] = {}
    groups: dict[tuple[ValueConfig, int], list[str]] = {}
    indexes: dict[IndexConfig, list[str]] = {}
    for name in names:
        info = container.tensor(name)
        value, index = info.decoder.value, info.decoder.index
        if not value.has_layouts:
            raise ConfigError(
                f"{container.label(name)}: the block codec has no weight streams: compress with "
                "--value window, or name other tensors with --tensor"
            )
        forms[name] = WeightFormat(value, info.planes, index)
        groups.setdefault((value, info.planes), []).append(name)
        indexes.setdefault(index, []).append(name)
    if len(groups) > 1:
        # Name what differs only.
        facts: list[dict[str, Any]]
        facts = [value.to_dict() | {"planes": planes} for value, planes in groups]
        told = [_difference(one, facts) for one in facts]
        raise _several(container, "values of one kind", told, list(groups.values()))
    kinds = [index.kind for index in indexes]
    if len(set(kinds)) < len(kinds):
        facts = [{"index": index.codec} | index.to_dict() for index in indexes]
        told = [_difference(one, facts) for one in facts]
        raise _several(container, "one index of a kind", told, list(indexes.values()))
    return forms


def _difference(one: dict[str, Any], others: Sequence[dict[str, Any]]) -> str:
    """Tell those values that are not the same everywhere."""
    return ", ".join(
        f"{key} {value}"
        for key, value in one.items()
        if any(other.get(key) != value for other in others)
    )


def _several(
    container: Container, what: str, told: Sequence[str], groups: Sequence[Sequence[str]]
) -> ConfigError:
    """Return the error for tensors that no single decoder reads."""
    parts = "; ".join(
        f"{text}: {listed(names, 3)}" for text, names in zip(told, groups, strict=True)
    )
    return ConfigError(
        f"{container.path}: a decoder of weight streams reads {what}, these tensors are for "
        f"{len(groups)} decoders ({parts}): name those of one with --tensor"
    )


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
    check_range("align_bytes", align_bytes, 1, ALIGN_BYTES_MAX, power=True)
    names = list(names or container.tensors)
    name, times = Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        raise ConfigError(f"tensor {name!r} is asked for more than once")
    forms = weight_formats(container, names)
    parts: list[bytes] = []
    regions: list[Region] = []
    at = 0
    for name in names:
        data, region = _region(container, forms[name], name, padded(at, align_bytes))
        parts += [bytes(region.offset - at), data]
        regions.append(region)
        at = region.offset + region.length
        progress("image", name)
    return MemoryImage(b"".join(parts), tuple(regions), align_bytes)


def _region(
    container: Container, form: WeightFormat, name: str, offset: int
) -> tuple[bytes, Region]:
    """Join one tensor's streams."""
    where = container.label(name)
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
    return data, Region(name, offset, len(data), weights, slices, len(streams), crc, form)
