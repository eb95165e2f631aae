# SPDX-License-Identifier: Apache-2.0
"""Manifest of a compressed model: its JSON text, and the strict schema by which it is read."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError, check_range
from xorloom.sw.base.json_text import read_json
from xorloom.sw.spec.codecs import INDEX_CODECS, VALUE_CODECS
from xorloom.sw.spec.weight_format import Decoder, check_index
from xorloom.sw.tensors.checkpoint.model import WEIGHT_DTYPES
from xorloom.sw.tensors.codes import PLANES_MAX
from xorloom.sw.tensors.orders import check_order
from xorloom.sw.tensors.quantize import SCALE_DTYPES, Quantizer
from xorloom.sw.tensors.rotation import SEED_MAX
from xorloom.sw.tensors.safetensors_file import METADATA_NAME, dtype_name
from xorloom.sw.value.plane import ValueLayout, check_method

from .facts import FOREIGN_KEY, SCALE, CompressedTensor, ForeignTensor, JoinedTensor
from .schema import as_keys, as_list, as_object, as_positive, as_shape, as_text
from .seal import SEAL_KEY

__all__ = ["CODE_DTYPES", "MANIFEST_KEY", "VERSIONS", "Manifest"]

VERSIONS = (2, 3, 4)
"""Versions that are read; 4 is written if tensors are in blocks, 3 if not."""
MANIFEST_KEY = "xorloom"
"""Key of the manifest in the file's metadata."""
CODE_DTYPES = ("U8", "I8")
"""Dtypes of the user's own codes."""
_SCALE_DTYPES = {dtype_name(np.dtype(name)): name for name in SCALE_DTYPES}
_WEIGHTS_LIMIT = 1 << 32
_CRC_MAX = (1 << 32) - 1
_KEYS = {"version", "tensors", "crc32"}
_TENSOR_KEYS = {"shape", "dtype", "planes", "content_crc32", "quantizer"}
_QUANTIZER_KEYS_2 = {"method", "planes", "scale", "group", "scale_dtype"}
_QUANTIZER_KEYS = {"method", "scale", "group", "axis"}


@dataclass(frozen=True)
class Manifest:
    """Manifest: what a file says of its tensors.

    Parameters
    ----------
    tensors : dict
        Compressed tensors by original name.
    foreign : dict
        Tensors that pass through as bytes because safetensors lacks their dtype.
    ties : dict
        Other names of tensors, each with the name under which the tensor stands.
    crcs : dict
        CRC-32 of the bytes of every tensor of the file.
    joined : dict
        Tensors of the original that are compressed in blocks, each one of ``tensors``.
    """

    tensors: dict[str, CompressedTensor]
    foreign: dict[str, ForeignTensor]
    ties: dict[str, str]
    crcs: dict[str, int]
    joined: dict[str, JoinedTensor] = field(default_factory=dict)

    @property
    def decoders(self) -> list[Decoder]:
        """Decoders of all tensors, in the order in which they come first."""
        return list(dict.fromkeys(info.decoder for info in self.tensors.values()))

    @property
    def originals(self) -> dict[str, CompressedTensor]:
        """Compressed tensors by the names that they come back under; of blocks, the first one."""
        blocks = {block for joined in self.joined.values() for block in joined.blocks}
        whole = {name: info for name, info in self.tensors.items() if name not in blocks}
        return whole | {n: self.tensors[joined.blocks[0]] for n, joined in self.joined.items()}

    def untouched(self, names: Iterable[str]) -> list[str]:
        """Return those of the file's tensors that passed through."""
        ours = {name + part for name, info in self.tensors.items() for part in info.parts}
        return [name for name in names if name not in ours]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the newest version."""
        decoders = self.decoders
        joined = {
            name: asdict(info) | {"shape": list(info.shape), "blocks": list(info.blocks)}
            for name, info in self.joined.items()
        }
        return {
            "version": 4 if joined else 3,
            "decoders": [decoder.to_dict() for decoder in decoders],
            "tensors": {
                name: _tensor_dict(info, decoders.index(info.decoder))
                for name, info in self.tensors.items()
            },
            "foreign": {
                name: asdict(info) | {"shape": list(info.shape)}
                for name, info in self.foreign.items()
            },
            "ties": self.ties,
            "crc32": self.crcs,
        } | ({"joined": joined} if joined else {})

    def check_names(self, entries: Collection[str], metadata: Collection[str]) -> None:
        """Check that a plain file can hold all tensors under their names, no two under one.

        Parameters
        ----------
        entries : names of the file's tensors
        metadata : keys of the original's metadata

        Raises
        ------
        ConfigError
            If it cannot, or a tie or a foreign tensor names none.
        """
        untouched, originals = set(self.untouched(entries)), self.originals
        taken = {METADATA_NAME, *untouched}
        for name, info in originals.items():
            for suffix in info.outputs:
                if name + suffix in taken:
                    raise ConfigError(
                        f"tensor {name + suffix!r} is in the way of what {name!r} becomes when it "
                        "is decompressed: rename it"
                    )
                taken.add(name + suffix)
        for name in self.foreign:
            if name not in untouched:
                raise ConfigError(f"foreign tensor {name!r} is none of those that pass through")
        # In a plain file, ties stand in the metadata, by the other name.
        taken |= {MANIFEST_KEY, SEAL_KEY, FOREIGN_KEY, *metadata}
        for alias, name in self.ties.items():
            if alias in taken or (name not in originals and name not in untouched):
                raise ConfigError(f"name {alias!r} cannot stand for tensor {name!r} as well")
        if self.foreign and FOREIGN_KEY in metadata:
            raise ConfigError(f"the model's metadata has the reserved key {FOREIGN_KEY!r}")

    @classmethod
    def from_json(
        cls,
        text: str,
        entries: Mapping[str, tuple[str, tuple[int, ...], int]],
        metadata: Collection[str],
    ) -> "Manifest":
        """Read a manifest and check it against the file's tensors.

        Parameters
        ----------
        text : str
        entries : mapping of name to (dtype name, shape, bytes)
        metadata : keys of the original's metadata

        Raises
        ------
        ConfigError, ValueError
            With what does not fit, without the file's name.
        """
        manifest = as_object("manifest", read_json(text))
        if "version" not in manifest:
            raise ConfigError("manifest has no version")
        version = manifest["version"]
        if type(version) is not int or version not in VERSIONS:
            raise VersionError(version)
        if version == 2:
            facts = as_keys("manifest", manifest, _KEYS | {"codec", "config", "index"})
            decoders = [_decoder({key: facts[key] for key in ("codec", "config", "index")})]
            foreign, ties = {}, {}
        else:
            more = {"joined"} if version > 3 else set()
            facts = as_keys("manifest", manifest, _KEYS | {"decoders", "foreign", "ties"} | more)
            decoders = [_decoder(decoder) for decoder in as_list("decoders", facts["decoders"])]
            foreign = {
                name: _foreign(name, values)
                for name, values in as_object("foreign", facts["foreign"]).items()
            }
            ties = {
                alias: as_text("ties", name)
                for alias, name in as_object("ties", facts["ties"]).items()
            }
        tensors = {
            name: _tensor(name, values, version, decoders, entries)
            for name, values in as_object("tensors", facts["tensors"]).items()
        }
        crcs = as_keys("crc32", facts["crc32"], set(entries))
        read = cls(
            tensors,
            foreign,
            ties,
            {name: check_range("crc32", crcs[name], 0, _CRC_MAX) for name in entries},
            _joined(facts.get("joined", {}), tensors),
        )
        if version > 2 and len(decoders) != len(read.decoders):
            raise ConfigError("decoders must differ from each other, and each be that of a tensor")
        read.check_names(entries, metadata)
        for name, info in foreign.items():
            dtype, shape, _ = entries[name]
            if dtype != "U8" or len(shape) != 1:
                raise ConfigError(f"foreign tensor {name!r} ({info.dtype}) must be U8 bytes")
        return read


class VersionError(ValueError):
    """A version that this reader does not know."""


def _tensor_dict(tensor: CompressedTensor, decoder: int) -> dict[str, Any]:
    """Return a tensor's entry of the manifest."""
    quantizer = None
    if tensor.quantizer is not None:
        facts = asdict(tensor.quantizer)
        # The tensor's own entry has the planes, the dtype of its scales is theirs.
        quantizer = {k: v for k, v in facts.items() if k not in ("planes", "scale_dtype")}
    entry = {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "planes": tensor.planes,
        "content_crc32": tensor.content_crc32,
        "quantizer": quantizer,
        "decoder": decoder,
        "error": tensor.error,
    }
    if tensor.decoder.value.has_layouts:
        entry |= asdict(tensor.layout)
    if tensor.decoder.value.chooses_values:
        entry["rotation"] = tensor.rotation
    return entry


def _shape(value: Any) -> tuple[int, ...]:
    shape = as_shape("shape", value, _WEIGHTS_LIMIT)
    if math.prod(n or 1 for n in shape) >= _WEIGHTS_LIMIT:
        raise ConfigError(f"shape must be of fewer than 2**32 weights, not {list(shape)}")
    return shape


def _decoder(value: Any) -> Decoder:
    """Read a decoder's parameters."""
    facts = as_keys("decoder", value, {"codec", "config", "index"})
    codec = VALUE_CODECS.get(as_text("codec", facts["codec"]))
    if codec is None:
        raise ConfigError(f"unknown value codec {facts['codec']!r}")
    index = as_keys("index", facts["index"], {"codec", "config"})
    index_codec = INDEX_CODECS.get(as_text("index codec", index["codec"]))
    if index_codec is None:
        raise ConfigError(f"unknown index codec {index['codec']!r}")
    return Decoder(
        codec.from_dict(as_object("config", facts["config"])),
        index_codec.from_dict(as_object("config of the index", index["config"])),
    )


def _foreign(name: str, value: Any) -> ForeignTensor:
    facts = as_keys(f"foreign tensor {name!r}", value, {"dtype", "shape", "encoding"})
    return ForeignTensor(
        as_text("dtype", facts["dtype"]),
        as_shape("shape", facts["shape"], 1 << 63),
        as_text("encoding", facts["encoding"]),
    )


def _joined(value: Any, tensors: Mapping[str, CompressedTensor]) -> dict[str, JoinedTensor]:
    """Read which tensors are in blocks, and check that the blocks are all there is of them."""
    found: dict[str, JoinedTensor] = {}
    left = dict(tensors)
    for name, entry in as_object("joined", value).items():
        what = f"joined tensor {name!r}"
        facts = as_keys(what, entry, {"shape", "blocks", "error"})
        shape = as_shape("shape", facts["shape"], _WEIGHTS_LIMIT)
        blocks = tuple(as_text("block", block) for block in as_list("blocks", facts["blocks"]))
        infos = [left.pop(block, None) for block in blocks]
        if not infos or None in infos:
            raise ConfigError(f"{what} must have blocks, each a compressed tensor of its own")
        sizes = sum(math.prod(info.shape) for info in infos if info is not None)
        if sizes != math.prod(shape):
            raise ConfigError(f"{what} of {list(shape)} has {sizes:,} weights in its blocks")
        kinds = {(info.dtype, info.outputs, info.rotation) for info in infos if info is not None}
        if len(kinds) > 1:
            raise ConfigError(f"blocks of {what} must be alike in dtype, rotation and scales")
        found[name] = JoinedTensor(shape, blocks, as_positive("error", facts["error"]))
    return found


def _tensor(
    name: str,
    value: Any,
    version: int,
    decoders: list[Decoder],
    entries: Mapping[str, tuple[str, tuple[int, ...], int]],
) -> CompressedTensor:
    """Read a tensor's entry, and check it against the tensors of the file that hold it."""
    try:
        return _checked_tensor(name, value, version, decoders, entries)
    except ConfigError as error:
        raise ConfigError(f"tensor {name!r}: {error}") from None


def _checked_tensor(
    name: str,
    value: Any,
    version: int,
    decoders: list[Decoder],
    entries: Mapping[str, tuple[str, tuple[int, ...], int]],
) -> CompressedTensor:
    facts = as_object("entry", value)
    newer = {"decoder", "error"} if version > 2 else set()
    number = check_range("decoder", facts.get("decoder"), 0, len(decoders) - 1) if newer else 0
    decoder = decoders[number]
    keys = _TENSOR_KEYS | newer
    layout = ValueLayout()
    if decoder.value.has_layouts:
        keys |= {"order", "slices_per_stream"}
    rotation = None
    if decoder.value.chooses_values:
        keys |= {"rotation"}
    as_keys("entry", facts, keys)
    if decoder.value.has_layouts:
        layout = ValueLayout(
            check_order(as_text("order", facts["order"])),
            check_range("slices_per_stream", facts["slices_per_stream"], 1, 1 << 32),
        )
    if decoder.value.chooses_values and facts["rotation"] is not None:
        rotation = check_range("rotation", facts["rotation"], 0, SEED_MAX)
    planes = check_range("planes", facts["planes"], 1, PLANES_MAX)
    check_index(decoder.index, decoder.value, planes)
    scale_dtype = entries[name + SCALE][0] if name + SCALE in entries else "F16"
    quantizer = _quantizer(facts["quantizer"], version, planes, scale_dtype)
    check_method(quantizer, decoder.value)
    dtype = as_text("dtype", facts["dtype"])
    if quantizer is None and version == 2:
        dtype = "U8"  # the original's was written, but codes come back as they were stored
    allowed = CODE_DTYPES if quantizer is None else WEIGHT_DTYPES
    if dtype not in allowed:
        raise ConfigError(f"dtype must be one of {', '.join(allowed)}, not {dtype!r}")
    info = CompressedTensor(
        _shape(facts["shape"]),
        dtype,
        planes,
        check_range("content_crc32", facts["content_crc32"], 0, _CRC_MAX),
        quantizer,
        decoder,
        layout,
        as_positive("error", facts.get("error")),
        rotation,
    )
    _check_parts(name, info, entries)
    return info


def _quantizer(value: Any, version: int, planes: int, scale_dtype: str) -> Quantizer | None:
    """Read a quantizer; null where the user brought codes."""
    if value is None:
        return None
    facts = as_keys("quantizer", value, _QUANTIZER_KEYS_2 if version == 2 else _QUANTIZER_KEYS)
    if scale_dtype not in _SCALE_DTYPES:
        raise ConfigError(f"scales must be {' or '.join(_SCALE_DTYPES)}, not {scale_dtype}")
    implied = {"planes": planes, "scale_dtype": _SCALE_DTYPES[scale_dtype]}
    for key, expected in implied.items():
        if version == 2 and facts[key] != expected:
            raise ConfigError(f"quantizer's {key} must be {expected!r}, not {facts[key]!r}")
    return Quantizer(**facts | implied)


def _check_parts(
    name: str,
    info: CompressedTensor,
    entries: Mapping[str, tuple[str, tuple[int, ...], int]],
) -> None:
    """Check the tensors of the file that hold a compressed one."""
    for suffix in info.parts:
        if name + suffix not in entries:
            raise ConfigError(f"part {name + suffix!r} is missing")
        dtype, shape, _ = entries[name + suffix]
        if suffix == SCALE and info.quantizer is not None:
            axis = info.quantizer.axis_of(info.shape)
            if info.quantizer.axis != axis:
                raise ConfigError(f"quantizer's axis must be {axis}, not {info.quantizer.axis}")
            expected = info.quantizer.scale_shape(info.shape)
            if shape != expected:
                raise ConfigError(f"scales must be {expected}, not {shape}")
        elif suffix != SCALE and (dtype != "U8" or len(shape) != 1):
            raise ConfigError(f"part {name + suffix!r} must be U8 bytes, not {dtype} {shape}")
