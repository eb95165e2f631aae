# SPDX-License-Identifier: Apache-2.0
"""Facts of the tensors in a compressed model, and the names under which their parts stand."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from xorloom.sw.bits.byte_arrays import kept_bytes
from xorloom.sw.spec.weight_format import Decoder
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.plane import ValueLayout

__all__ = [
    "FOREIGN_KEY",
    "INDEX",
    "MASK",
    "ROTATION_KEY",
    "SCALE",
    "STREAM",
    "CompressedTensor",
    "ForeignTensor",
    "JoinedTensor",
    "StoredTensor",
    "content_crc32",
]

STREAM, INDEX, SCALE = ".xl_stream", ".xl_index", ".xl_scale"
"""Suffixes of the tensors that replace a compressed one."""
MASK = ".mask"
"""Suffix of the mask that comes back beside the user's own codes."""
ROTATION_KEY = "xorloom.rotation"
"""Key of a plain file's metadata: JSON text, seeds of the tensors that were left rotated."""
FOREIGN_KEY = "xorloom.foreign"
"""Key of a plain file's metadata: JSON text, dtype, shape and encoding of tensors kept as bytes."""


@dataclass(frozen=True)
class CompressedTensor:
    """What the manifest says of one compressed tensor.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
        Safetensors dtype in which it comes back: the original's, or that of the user's own codes.
    planes : int
    content_crc32 : int
        CRC-32 of the packed mask, the codes and their levels, see :func:`content_crc32`.
    quantizer : Quantizer or None
        ``None`` where the user brought codes.
    decoder : Decoder
        What reads its streams.
    layout : ValueLayout
    error : float, optional
        Squared error that compressing made, relative to the sum of the squared weights.
    rotation : int, optional
        Seed of the rotation that the weights had before their values were chosen.
    """

    shape: tuple[int, ...]
    dtype: str
    planes: int
    content_crc32: int
    quantizer: Quantizer | None
    decoder: Decoder
    layout: ValueLayout = field(default_factory=ValueLayout)
    error: float | None = None
    rotation: int | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Suffixes of the tensors that it becomes in a plain file."""
        return ("",) if self.quantizer else ("", MASK)

    @property
    def parts(self) -> tuple[str, ...]:
        """Suffixes of the tensors that hold it."""
        return (STREAM, INDEX, SCALE) if self.quantizer else (STREAM, INDEX)


@dataclass(frozen=True)
class JoinedTensor:
    """Tensor of the original that is compressed in blocks, each a tensor of its own.

    Parameters
    ----------
    shape : tuple of int
    blocks : tuple of str
        Names of compressed tensors, whose weights in row-major order are its own, one block after
        the other.
    error : float, optional
        Squared error of the whole tensor, as that of :class:`CompressedTensor`.
    """

    shape: tuple[int, ...]
    blocks: tuple[str, ...]
    error: float | None = None


@dataclass(frozen=True)
class ForeignTensor:
    """Tensor of a dtype that safetensors does not have, kept as bytes.

    Parameters
    ----------
    dtype : str
        The source's own name, such as ``torch.qint8``.
    shape : tuple of int
    encoding : str
        What the bytes are, such as ``npy``.
    """

    dtype: str
    shape: tuple[int, ...]
    encoding: str


@dataclass(frozen=True)
class StoredTensor:
    """One tensor on its way into a file.

    Parameters
    ----------
    name : str
    parts : mapping of str to (dtype name, shape, bytes or iterator of bytes)
        What is stored, by suffix of the name: ``STREAM``, ``INDEX`` and perhaps ``SCALE`` of a
        compressed tensor, the empty suffix of one that passes through, which may come in pieces.
    facts : CompressedTensor or ForeignTensor, optional
        Of a tensor that is compressed, or of a dtype that safetensors does not have.
    """

    name: str
    parts: Mapping[str, tuple[str, tuple[int, ...], bytes | Iterator[bytes]]]
    facts: CompressedTensor | ForeignTensor | None = None


def content_crc32(mask: np.ndarray, codes: np.ndarray, levels: np.ndarray | None = None) -> int:
    """Return the CRC-32 of what must survive.

    That is the packed row-major mask, then the kept codes, one byte each, then their levels, if a
    stream holds them: a tensor without weights has no stream.
    """
    packed = np.packbits(mask.reshape(-1), bitorder="little")
    crc = zlib.crc32(kept_bytes(codes, mask).tobytes(), zlib.crc32(packed.tobytes()))
    return crc if levels is None or not codes.size else zlib.crc32(levels.tobytes(), crc)
