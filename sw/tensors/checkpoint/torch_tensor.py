# SPDX-License-Identifier: Apache-2.0
"""Tensors of torch: which dtype they become, and their bytes."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.tensors.safetensors_file import DTYPES

from .model import ModelTensor, reader

__all__ = ["Span", "place", "read_tensor", "read_tensors", "tensor_of"]

_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "complex64": "C64",
}
_PAIRS = "float4_e2m1fn_x2"  # two numbers of four bits in an element
Place = tuple[object, ...]
Span = tuple[int, int, str]
"""Bytes of a storage, from and to, and the name of the tensor that has them."""


def _is_plain(tensor: Any) -> bool:
    """Whether a tensor is an array in memory: no sparse, nested or quantized one."""
    return str(tensor.layout) == "torch.strided" and not (tensor.is_nested or tensor.is_quantized)


def place(tensor: Any) -> tuple[Place, int, int, int] | None:
    """Return where a tensor lies in memory; ``None`` if nothing can be tied to it.

    Returns
    -------
    (key, storage, start, stop)
        Equal keys are the same numbers in the same memory, in the same shape; the bytes from
        ``start`` to ``stop`` of a storage.
    """
    if not _is_plain(tensor) or tensor.numel() == 0:
        return None
    storage = tensor.untyped_storage().data_ptr()
    shape, stride = tuple(tensor.shape), tuple(tensor.stride())
    start = tensor.storage_offset() * tensor.element_size()
    reach = sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) + 1
    turned = (tensor.is_conj(), tensor.is_neg())
    key = (storage, start, shape, stride, str(tensor.dtype), turned)
    return key, storage, start, start + reach * tensor.element_size()


def read_tensor(name: str, tensor: Any, torch: Any, source: str) -> ModelTensor:
    """Return a tensor of torch as one of a checkpoint.

    Raises
    ------
    FormatError
        If it has no data, or is of a class of its own.
    """
    label = f"{source}: tensor {name!r}"
    if tensor.is_meta:
        raise FormatError(f"{label} is on the meta device: only its shape was saved, no weights")
    plain = _is_plain(tensor)
    if plain and type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise FormatError(
            f"{label} is of class {type(tensor).__name__}: save plain tensors, "
            "e.g. tensor.dequantize() or tensor.as_subclass(torch.Tensor)"
        )
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = (len(tensor.unbind()),) if tensor.is_nested else tuple(int(n) for n in tensor.shape)
    if plain and dtype in _DTYPES:
        known = _DTYPES[dtype]

        def load() -> np.ndarray:
            return _bytes(tensor, torch).view(DTYPES[known]).reshape(shape)

        return ModelTensor(name, known, shape, reader(label, load), source=source)
    if plain and dtype == _PAIRS and shape:
        shape = (*shape[:-1], 2 * shape[-1])
        load = reader(label, lambda: _bytes(tensor, torch))
        return ModelTensor(name, "F4", shape, load, source=source)
    layout = "torch.nested" if tensor.is_nested else str(tensor.layout)
    own = str(tensor.dtype) if plain or tensor.is_quantized else f"{layout} {tensor.dtype}"
    load = reader(label, lambda: _saved(tensor, torch))
    return ModelTensor(name, own, shape, load, foreign="torch", source=source)


def read_tensors(
    found: Mapping[str, Any], torch: Any, source: str
) -> tuple[dict[str, ModelTensor], dict[str, str], dict[int, list[Span]]]:
    """Return tensors of torch as those of a checkpoint; those of the same memory are tied.

    Returns
    -------
    (tensors, ties, spans)
        Tensors by name; other names, and the tensor that they stand for; what part of each storage
        the tensors have.

    Raises
    ------
    FormatError
        As :func:`read_tensor`.
    """
    tensors: dict[str, ModelTensor] = {}
    ties: dict[str, str] = {}
    first: dict[object, str] = {}
    spans: dict[int, list[Span]] = {}
    for name, value in found.items():
        tensor = read_tensor(name, value, torch, source)
        where = place(value)
        if where is not None:
            key, storage, start, stop = where
            holder = first.setdefault(key, name)
            if holder != name:
                ties[name] = holder
                continue
            spans.setdefault(storage, []).append((start, stop, name))
        tensors[name] = tensor
    return tensors, ties, spans


def tensor_of(dtype: str, shape: tuple[int, ...], data: bytes | memoryview, torch: Any) -> Any:
    """Return a tensor of torch of the bytes that :func:`read_tensor` gives, with its own memory.

    Raises
    ------
    FormatError
        If torch has no such dtype.
    """
    known = {name: own for own, name in _DTYPES.items()}
    if dtype not in known:
        raise FormatError(f"torch has no dtype {dtype}")
    flat = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0).byte()
    return flat.view(getattr(torch, known[dtype])).reshape(shape)


def _bytes(tensor: Any, torch: Any) -> np.ndarray:
    """Return the bytes in row-major order, without a copy where they lie so."""
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def _saved(tensor: Any, torch: Any) -> np.ndarray:
    """Return a file of ``torch.save`` that holds the tensor and nothing else of its storage."""
    tensor = tensor.detach()
    if str(tensor.layout) == "torch.strided" and not tensor.is_nested:
        tensor = tensor.resolve_conj().resolve_neg()
    file = io.BytesIO()
    try:
        own = tensor.clone()
    except RuntimeError:  # of types that torch only stores, it copies none
        own = tensor
    torch.save(own, file)
    return np.frombuffer(file.getvalue(), np.uint8)
