# SPDX-License-Identifier: Apache-2.0
"""Tensors of ONNX: what a message of a model holds, also where its bytes are in another file."""

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.tensors.safetensors_file import DTYPES

__all__ = ["External", "OnnxTensor", "external"]

_DTYPES = {
    "FLOAT": "F32",
    "UINT8": "U8",
    "INT8": "I8",
    "UINT16": "U16",
    "INT16": "I16",
    "INT32": "I32",
    "INT64": "I64",
    "BOOL": "BOOL",
    "FLOAT16": "F16",
    "DOUBLE": "F64",
    "UINT32": "U32",
    "UINT64": "U64",
    "COMPLEX64": "C64",
    "BFLOAT16": "BF16",
    "FLOAT8E4M3FN": "F8_E4M3",
    "FLOAT8E4M3FNUZ": "F8_E4M3FNUZ",
    "FLOAT8E5M2": "F8_E5M2",
    "FLOAT8E5M2FNUZ": "F8_E5M2FNUZ",
    "FLOAT8E8M0": "F8_E8M0",
}
_BITS = {"COMPLEX128": 128, "FLOAT4E2M1": 4, "UINT4": 4, "INT4": 4, "UINT2": 2, "INT2": 2}
_DENSE_MOST, _DENSE_LEAST = 4096, 1 << 20
"""Places of a sparse tensor for each value that it stores, so that a small file cannot ask for any
memory; and how many are always fine."""
_ATTRIBUTES = {"value_float": "F32", "value_floats": "F32", "value_int": "I64", "value_ints": "I64"}


@dataclass(frozen=True)
class External:
    """Bytes of a tensor in another file.

    Parameters
    ----------
    path : Path
    offset, size : int
    """

    path: Path
    offset: int
    size: int

    def read(self) -> np.ndarray:
        """Return the bytes, uint8."""
        if not self.size:
            return np.zeros(0, np.uint8)
        return np.memmap(self.path, np.uint8, "r", self.offset, (self.size,))


class OnnxTensor:
    """Tensor in a message of a model.

    Parameters
    ----------
    name : str
        Its path.
    message : TensorProto, SparseTensorProto or AttributeProto
    model : Path
        The model's file, whose folder has the other files.

    Attributes
    ----------
    dtype : str
        Safetensors name, or ``onnx.`` and ONNX's.
    shape : tuple of int
    foreign : bool
        Whether safetensors has no such dtype.

    Raises
    ------
    FormatError
        If the message does not fit itself.
    """

    def __init__(self, name: str, message: Any, model: Path) -> None:
        self.message, self.model = message, model
        self.label = f"{model}: tensor {name!r}"
        self.kind = message.DESCRIPTOR.name
        if self.kind == "AttributeProto":
            self._from_attribute(message)
            return
        values = message.values if self.sparse else message
        self.shape = tuple(message.dims)
        if any(n < 0 for n in self.shape):
            raise FormatError(f"{self.label} has shape {self.shape}")
        self.own, self.dtype = _dtype(values.data_type, self.label)
        self.foreign = self.own not in _DTYPES and not self._packs_whole_bytes

    @property
    def sparse(self) -> bool:
        """Whether only what is not zero is stored."""
        return bool(self.kind == "SparseTensorProto")

    @property
    def _packs_whole_bytes(self) -> bool:
        return self.own == "FLOAT4E2M1" and not self.sparse and math.prod(self.shape) % 2 == 0

    def _from_attribute(self, message: Any) -> None:
        known = _ATTRIBUTES.get(message.name)
        self.foreign = known is None
        self.dtype = known or "onnx.STRING"
        field = {"value_floats": "floats", "value_ints": "ints", "value_strings": "strings"}
        several = field.get(message.name)
        self.shape = (len(getattr(message, several)),) if several else ()

    def load(self) -> np.ndarray:
        """Return the array, or bytes where NumPy has no such dtype, in one dimension."""
        if self.kind == "AttributeProto":
            return self._attribute()
        if self.foreign:
            return np.frombuffer(self._embedded().SerializeToString(), np.uint8)
        if self.sparse:
            return self._dense()
        return _array(self.message, self.model, self.label)

    def _attribute(self) -> np.ndarray:
        from onnx import TensorProto, helper

        message = self.message
        if not self.foreign:
            several = message.floats if message.name == "value_floats" else message.ints
            one = message.f if message.name == "value_float" else message.i
            return np.array(several if self.shape else one, DTYPES[self.dtype]).reshape(self.shape)
        texts = list(message.strings) if self.shape else [message.s]
        made = helper.make_tensor("", TensorProto.STRING, self.shape, texts)
        return np.frombuffer(made.SerializeToString(), np.uint8)

    def _embedded(self) -> Any:
        """Return a copy of the message with all bytes inside."""
        copy = type(self.message)()
        copy.CopyFrom(self.message)
        for tensor in (copy.values, copy.indices) if self.sparse else (copy,):
            there = external(tensor, self.model, self.label)
            if there is not None:
                tensor.raw_data = there.read().tobytes()
                del tensor.external_data[:]
                tensor.ClearField("data_location")
        return copy

    def _dense(self) -> np.ndarray:
        values = _array(self.message.values, self.model, self.label)
        at = _array(self.message.indices, self.model, self.label)
        if math.prod(self.shape) > max(_DENSE_LEAST, _DENSE_MOST * values.size):
            raise FormatError(
                f"{self.label} has shape {self.shape} for {values.size:,} values, more than "
                f"{_DENSE_MOST:,} places for each"
            )
        if at.ndim == 2 and at.shape[1] == len(self.shape):
            at = np.ravel_multi_index(tuple(at.T), self.shape)  # ValueError where out of range
        if at.shape != values.shape or (at.size and int(at.min()) < 0):
            raise FormatError(f"{self.label} has {values.shape} values, indices {at.shape}")
        dense = np.zeros(math.prod(self.shape), values.dtype)
        dense[at] = values
        return dense.reshape(self.shape)


def _dtype(number: int, label: str) -> tuple[str, str]:
    """Return the name that ONNX and safetensors have for a type."""
    from onnx import TensorProto

    if not number:
        raise FormatError(f"{label} has no data type")
    known = {value: name for name, value in TensorProto.DataType.items()}
    own = known.get(number, str(number))
    if own == "FLOAT4E2M1":
        return own, "F4"
    return own, _DTYPES.get(own, f"onnx.{own}")


def _array(tensor: Any, model: Path, label: str) -> np.ndarray:
    """Return the array of a TensorProto; four-bit floats as their packed bytes."""
    from onnx import numpy_helper

    own, dtype = _dtype(tensor.data_type, label)
    there = external(tensor, model, label)
    if there is not None:
        return (
            there.read()
            if own not in _DTYPES
            else there.read().view(DTYPES[dtype]).reshape(tuple(tensor.dims))
        )
    array = np.asarray(numpy_helper.to_array(tensor))
    if own == "FLOAT4E2M1":
        pairs = array.reshape(-1, 2).view(np.uint8)
        return pairs[:, 0] | pairs[:, 1] << 4
    return array


def external(tensor: Any, model: Path, label: str) -> External | None:
    """Return where a TensorProto's bytes are; ``None`` if they are inside.

    Raises
    ------
    FormatError
        If the file is missing or too short, or is not in the model's folder.
    """
    from onnx import TensorProto

    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    facts = {entry.key: entry.value for entry in tensor.external_data}
    location = facts.get("location", "")
    parts = PurePosixPath(location.replace("\\", "/"))
    if not location or parts.is_absolute() or ".." in parts.parts:
        raise FormatError(
            f"{label} has its data in {location!r}, which is not in the model's folder"
        )
    path = model.parent / location
    if not path.is_file():
        raise FormatError(f"{label} has its data in {path}, which is missing: get it as well")
    # A cache may keep the model and its data elsewhere, side by side, behind links.
    homes = [model.parent.resolve(), model.resolve().parent]
    if not any(path.resolve().is_relative_to(home) for home in homes):
        raise FormatError(f"{label} has its data in {path}, a link out of the model's folder")
    own, dtype = _dtype(tensor.data_type, label)
    bits = _BITS.get(own, 8 * DTYPES[dtype].itemsize if dtype in DTYPES else 0)
    size = -(-math.prod(tensor.dims) * bits // 8)
    try:
        offset, length = int(facts.get("offset", 0)), int(facts.get("length", size))
    except ValueError as error:
        raise FormatError(f"{label} has no place in {path}: {error}") from None
    end = path.stat().st_size
    if length != size and bits:
        raise FormatError(f"{label} must have {size} bytes in {path}, not {length}")
    if offset < 0 or length < 0 or offset + length > end:
        raise FormatError(
            f"{label} has bytes {offset} to {offset + length} of {path}, which has {end}"
        )
    return External(path, offset, length)
