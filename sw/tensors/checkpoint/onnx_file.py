# SPDX-License-Identifier: Apache-2.0
"""ONNX models: tensors out, and decoded tensors back into the graph."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from xorloom.sw.base.errors import CapacityError, FormatError
from xorloom.sw.base.host import replaced_all
from xorloom.sw.base.outputs import check_outputs

from .model import Checkpoint, ModelTensor, listed, reader
from .onnx_graph import tensors_of
from .onnx_tensor import OnnxTensor, external
from .replacing import check_known, fitting

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
    files: dict[Path, None] = {}
    for name, message in tensors_of(_parsed(path)).items():
        tensor = OnnxTensor(name, message, path)
        if tensor.sparse and tensor.foreign:
            left_out.append(name)
            continue
        for part in _parts(message):
            place = external(part, path, tensor.label)  # what is missing is told before any work
            files |= {} if place is None else {place.path: None}
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
    return Checkpoint(tensors, path, notes=tuple(notes), files=tuple(files))


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
    names = set(arrays)
    for name in names:
        check_known(name, found, source)
    places = {
        name: [external(part, source, tensor.label) for part in _parts(tensor.message)]
        for name, tensor in found.items()
    }
    read = {source} | {place.path for own in places.values() for place in own if place}
    data = out.with_name(out.name + ".data")
    # The data appear before the model that names them.
    paths = (data, out) if len(read) > 1 else (out,)
    check_outputs(paths, read)
    with replaced_all(*paths) as files:
        model_file, data_file = files[-1], files[0] if len(read) > 1 else None
        for name, tensor in found.items():
            parts: Sequence[tuple[Any, np.ndarray | None]]
            if name in names:
                array = fitting(arrays[name], tensor.dtype, tensor.shape, tensor.label)
                parts = _split(tensor, array)
            else:
                parts = [(part, None) for part in _parts(tensor.message)]
            for (part, new), place in zip(parts, places[name], strict=True):
                if place is not None and data_file is not None:
                    _move(part, place.read() if new is None else new, data_file, data.name)
                elif new is not None:
                    part.raw_data = new.tobytes()
        model_file.write(_text(model, out))


def _text(model: Any, out: Path) -> bytes:
    try:
        return bytes(model.SerializeToString())
    except Exception as error:  # of protobuf, whose types differ by version
        raise CapacityError(f"{out}: model cannot be written, 2 GiB at most: {error}") from error


def _split(tensor: OnnxTensor, array: np.ndarray) -> list[tuple[Any, np.ndarray]]:
    """Take an array into a tensor's message, in kind, but for the bytes of its parts.

    Returns
    -------
    list of (TensorProto, array)
        What the bytes of each part must be. A message of many gigabytes would not hold them, and
        keeps what was ever put into it.
    """
    message = tensor.message
    if tensor.kind == "AttributeProto":
        field = {"value_float": "f", "value_int": "i"}.get(message.name)
        if field is not None:
            setattr(message, field, array.item())
        else:
            values = message.floats if message.name == "value_floats" else message.ints
            values[:] = array.tolist()
        return []
    parts = [(message, array)]
    if tensor.sparse:
        at = np.flatnonzero(array)
        values = array.reshape(-1)[at]
        if len(message.indices.dims) == 2:
            at = np.stack(np.unravel_index(at, array.shape), axis=1)
        parts = [(message.values, values), (message.indices, at.astype(np.int64))]
    for part, own in parts:
        part.dims[:] = own.shape
        for field in _FIELDS:
            part.ClearField(field)
    return parts


def _move(message: Any, data: np.ndarray, file: IO[bytes], location: str) -> None:
    """Write a tensor's bytes into the data file, and tell its message where they are."""
    file.write(bytes(-file.tell() % _ALIGN))
    start, flat = file.tell(), data.reshape(-1).view(np.uint8)
    for at in range(0, flat.size, _CHUNK):
        file.write(flat[at : at + _CHUNK].data)
    del message.external_data[:]
    facts = {"location": location, "offset": start, "length": flat.size}
    for key, value in facts.items():
        message.external_data.add(key=key, value=str(value))
