# SPDX-License-Identifier: Apache-2.0
"""Whole models back: compressed file to plain weights."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.tensors.checkpoint import into_model
from xorloom.sw.tensors.codes import signed_codes
from xorloom.sw.tensors.quantize import dequantize
from xorloom.sw.tensors.safetensors_file import DTYPES, header_bytes, write_tensors

from .container import MASK, Container, read_container
from .verify import verify_tensor

__all__ = ["FOREIGN_KEY", "decompress_into", "decompress_model", "plain_metadata"]

FOREIGN_KEY = "xorloom.foreign"
"""Key of a plain file's metadata: JSON text, dtype, shape and encoding of tensors kept as bytes."""


def decompress_model(
    path: Path, out: Path, progress: Progress = no_progress
) -> dict[str, tuple[int, ...]]:
    """Write a plain safetensors file of dequantized weights in their original dtype and order.

    Tensors whose codes the user brought come back as ``NAME`` (codes) and ``NAME.mask``.

    Returns
    -------
    dict
        Shape of every decoded tensor.

    Raises
    ------
    ConfigError, FormatError
        If the file is missing or damaged.
    OSError
        If the output cannot be written; nothing is left behind.
    """
    container = read_container(path)
    entries: dict[str, tuple[str, tuple[int, ...], int]] = {}
    for name in container.order:
        info = container.tensors.get(name)
        if info is None:
            entries[name] = container.entry(name)
            continue
        size = math.prod(info.shape)
        entries[name] = (info.dtype, info.shape, size * DTYPES[info.dtype].itemsize)
        if info.quantizer is None:
            entries[name + MASK] = ("BOOL", info.shape, size)

    def buffers() -> Iterator[bytes]:
        for name in container.order:
            info = container.tensors.get(name)
            if info is None:
                yield container.raw(name)
                continue
            if info.quantizer is None:
                decoded = verify_tensor(container, name)
                signed = info.dtype == "I8"
                codes = signed_codes(decoded.codes, info.planes) if signed else decoded.codes
                yield codes.tobytes()
                yield decoded.mask.tobytes()
            else:
                yield _weights(container, name).tobytes()
            progress("decode", name)

    write_tensors(out, header_bytes(entries, plain_metadata(container)), buffers())
    return {name: info.shape for name, info in container.tensors.items()}


@dataclass(frozen=True, eq=False)
class _Decoded(Mapping[str, np.ndarray]):
    """Compressed tensors of a file by name, each decoded when it is asked for."""

    container: Container
    progress: Progress

    def __getitem__(self, name: str) -> np.ndarray:
        weights = _weights(self.container, name)
        self.progress("decode", name)
        return weights

    def __iter__(self) -> Iterator[str]:
        return iter(self.container.tensors)

    def __len__(self) -> int:
        return len(self.container.tensors)


def decompress_into(path: Path, source: Path, out: Path, progress: Progress = no_progress) -> int:
    """Write the model that was compressed, with decoded weights in place of its own.

    Parameters
    ----------
    path : Path
        The compressed file.
    source : Path
        The model: an ``.onnx``, ``.npz`` or ``.safetensors`` file, see
        :func:`xorloom.sw.tensors.checkpoint.into.into_model`.
    out : Path
        Of the same ending.
    progress : callable

    Returns
    -------
    int
        How many tensors were decoded.

    Raises
    ------
    ConfigError, FormatError
        If a file is missing or damaged, the model has no such tensor, or codes that the user
        brought have no scales to be weights again.
    OSError
        If the output cannot be written; nothing is left behind.
    """
    container = read_container(path)
    for name, info in container.tensors.items():
        if info.quantizer is None:
            raise ConfigError(
                f"{path}: tensor {name!r} holds your own codes, which are no weights: decompress "
                "without --into"
            )
    into_model(source, out, _Decoded(container, progress))
    return len(container.tensors)


def _weights(container: Container, name: str) -> np.ndarray:
    """Decode a tensor to weights of its original dtype."""
    info = container.tensor(name)
    assert info.quantizer is not None
    weights = dequantize(verify_tensor(container, name), info.quantizer)
    return weights.astype(DTYPES[info.dtype])


def plain_metadata(container: Container) -> dict[str, str]:
    """Return the metadata of a plain file: the original's, and what only the manifest tells.

    Other names of a tensor stand as ``safetensors.torch.save_model`` writes them: the name that is
    left out, with the name that is there. Dtypes of foreign tensors stand under
    :data:`FOREIGN_KEY`.
    """
    metadata = dict(container.metadata) | dict(container.ties)
    if container.foreign:
        metadata[FOREIGN_KEY] = json.dumps({n: asdict(f) for n, f in container.foreign.items()})
    return metadata
