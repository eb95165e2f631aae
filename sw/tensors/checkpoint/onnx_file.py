# SPDX-License-Identifier: Apache-2.0
"""ONNX models: tensors out, and decoded tensors back into the graph."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.base.host import replaced, replaced_paths
from xorloom.sw.tensors.safetensors_file import dtype_name

from .model import Checkpoint, ModelTensor, listed, reader
from .onnx_graph import tensors_of
from .onnx_tensor import External, OnnxTensor, external

__all__ = ["open_onnx", "write_onnx"]

_ALIGN = 4096
"""Where tensors begin in a data file, so that a runtime can map them. Ref: ONNX external data."""
_CHUNK = 1 << 24
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "raw_data")


def _parsed(path: Path) -> Any:
    import onnx

    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # of protobuf, undocumented
        raise FormatError(f"{path}: cannot be read as .onnx: {error}") from error
    if not model.ir_version:
        raise FormatError(f"{path}: not an ONNX model, or empty")
    return model


def open_onnx(path: Path) -> Checkpoint:
    """Open a model: every tensor that its graphs, their bodies and its functions hold.

    Raises
    ------
    FormatError
        If it is damaged, or a file that it names is missing or not in its folder.
    """
    tensors: dict[str, ModelTensor] = {}
    left_out = []
    for name, message in tensors_of(_parsed(path)).items():
        tensor = OnnxTensor(name, message, path)
        if tensor.sparse and tensor.foreign:
            left_out.append(name)
            continue
        for part in _parts(message):
            external(part, path, tensor.label)  # what is missing is told before any work
        tensors[name] = ModelTensor(
            name,
            tensor.dtype,
            tensor.shape,
            reader(tensor.label, tensor.load),
            pruned=tensor.sparse,
            foreign="onnx" if tensor.foreign else "",
            source=str(path),
        )
    notes = [f"the graph is not kept: decompress --into {path.name} puts tensors back into it"]
    if left_out:
        notes.append(f"left out, sparse and of a type that is kept as it is: {listed(left_out)}")
    return Checkpoint(tensors, path, notes=tuple(notes))


def _parts(message: Any) -> Iterator[Any]:
    """Yield the TensorProtos of a message."""
    kind = message.DESCRIPTOR.name
    if kind == "SparseTensorProto":
        yield from (message.values, message.indices)
    elif kind == "TensorProto":
        yield message


def write_onnx(source: Path, out: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a model with some of its tensors replaced; all else is as it was.

    Sparse tensors stay sparse, with the values that are not zero. If the model has data in other
    files, all of that goes into one file beside ``out``, named like it and ``.data``.

    Parameters
    ----------
    source, out : Path
    arrays : mapping of name to array
        By the names that :func:`open_onnx` gives, in the tensors' own dtypes and shapes.

    Raises
    ------
    ConfigError
        If the model has no such tensor, or one of another shape or dtype; if a file would be
        written over one that is read.
    FormatError
        If the model is damaged.
    CapacityError
        If the model would be larger than a file of protobuf can be.
    OSError
        If a file cannot be written; nothing is left behind.
    """
    model = _parsed(source)
    found = {name: OnnxTensor(name, m, source) for name, m in tensors_of(model).items()}
    for name in arrays:
        if name not in found:
            raise ConfigError(
                f"{source}: has no tensor {name!r} (there is: {listed(found)}): give the model "
                "that was compressed"
            )
    outside: dict[str, list[tuple[Any, External]]] = {}
    for name, tensor in found.items():
        outside[name] = [
            (part, place)
            for part in _parts(tensor.message)
            if (place := external(part, source, tensor.label)) is not None
        ]
    read = {source} | {place.path for places in outside.values() for _, place in places}
    data = out.with_name(out.name + ".data")
    written = [data, out] if len(read) > 1 else [out]
    for path in written:
        if path.exists() and any(path.samefile(other) for other in read):
            raise ConfigError(f"{path}: is read for this, and cannot be written: name another")
    for name, tensor in found.items():
        if name in arrays and not outside[name]:
            _replace(tensor, _checked(tensor, arrays[name]))
    if len(written) == 1:
        with replaced(out) as file:
            file.write(_text(model, out))
        return
    with replaced_paths(*written) as (data_part, model_part):
        with data_part.open("xb") as file:
            for name, places in outside.items():
                if name in arrays and places:
                    _replace(found[name], _checked(found[name], arrays[name]))
                _move(places, name in arrays, file, data.name)
        with model_part.open("xb") as file:
            file.write(_text(model, out))


def _text(model: Any, out: Path) -> bytes:
    try:
        return bytes(model.SerializeToString())
    except Exception as error:  # of protobuf, whose types differ by version
        raise CapacityError(f"{out}: model cannot be written, 2 GiB at most: {error}") from error


def _checked(tensor: OnnxTensor, array: np.ndarray) -> np.ndarray:
    if tensor.foreign or tensor.dtype != dtype_name(array.dtype) or tensor.shape != array.shape:
        raise ConfigError(
            f"{tensor.label} is {tensor.dtype} {tensor.shape}, not {dtype_name(array.dtype)} "
            f"{array.shape}: give the model that was compressed"
        )
    return np.asarray(array, order="C")


def _replace(tensor: OnnxTensor, array: np.ndarray) -> None:
    """Put an array into a message, in kind; inside the model."""
    message = tensor.message
    if tensor.kind == "AttributeProto":
        field = {"value_float": "f", "value_int": "i"}.get(message.name)
        if field is not None:
            setattr(message, field, array.item())
        else:
            values = message.floats if message.name == "value_floats" else message.ints
            values[:] = array.tolist()
        return
    if not tensor.sparse:
        _put(message, array)
        return
    at = np.flatnonzero(array)
    values = array.reshape(-1)[at]
    if len(message.indices.dims) == 2:
        at = np.stack(np.unravel_index(at, array.shape), axis=1)
    _put(message.values, values)
    _put(message.indices, at.astype(np.int64))
    message.values.dims[:] = values.shape
    message.indices.dims[:] = at.shape


def _put(message: Any, array: np.ndarray) -> None:
    for field in _FIELDS:
        message.ClearField(field)
    message.raw_data = array.tobytes()


def _move(places: list[tuple[Any, External]], is_new: bool, file: IO[bytes], location: str) -> None:
    """Write a tensor's bytes into the data file, and tell its message where they are."""
    for message, place in places:
        file.write(bytes(-file.tell() % _ALIGN))
        start = file.tell()
        if is_new:
            file.write(message.raw_data)
            message.ClearField("raw_data")
        else:
            old = place.read()
            for at in range(0, old.size, _CHUNK):
                file.write(old[at : at + _CHUNK].data)
        facts = {"location": location, "offset": start, "length": file.tell() - start}
        del message.external_data[:]
        for key, value in facts.items():
            message.external_data.add(key=key, value=str(value))
