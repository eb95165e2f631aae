# SPDX-License-Identifier: Apache-2.0
"""The one way in: which reader a file or folder goes to, and what is said of all others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.tensors.shards import is_index

from .folder import open_folder, open_index
from .model import Checkpoint, Origin, is_told, listed
from .npz import open_npy, open_npz
from .onnx_file import open_onnx
from .pairs import join_pairs
from .safetensors_model import open_safetensors
from .torch_file import TORCHSCRIPT, open_torch

__all__ = ["FORMATS", "open_model"]

_OPENERS: dict[str, Callable[[Path], Checkpoint]] = {
    ".safetensors": open_safetensors,
    ".npz": open_npz,
    ".npy": open_npy,
    ".onnx": open_onnx,
    ".pt": open_torch,
    ".pth": open_torch,
    ".bin": open_torch,
    ".ckpt": open_torch,
}
FORMATS = tuple(_OPENERS)
"""Known file name endings."""
_GGUF = "a GGUF file: take the safetensors files that it was made from"
_KERAS = "a Keras file: convert it with tf2onnx, or save model.get_weights() with numpy.savez"
_FLAX = "a Flax file: load it in Flax and save its parameters with safetensors.flax.save_file"
_LITE = "a TensorFlow Lite file: convert it with python -m tf2onnx.convert --tflite FILE"
_GRAPH = "a TensorFlow graph: convert it with python -m tf2onnx.convert --graphdef FILE"
_REFUSED = {
    ".gguf": _GGUF,
    ".ggml": _GGUF,
    ".jit": TORCHSCRIPT,
    ".torchscript": TORCHSCRIPT,
    ".ptl": TORCHSCRIPT,
    ".tflite": _LITE,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".keras": _KERAS,
    ".pb": _GRAPH,
    ".msgpack": _FLAX,
    ".pkl": "a pickle, which can run code: save the arrays with numpy.savez",
    ".pickle": "a pickle, which can run code: save the arrays with numpy.savez",
    ".pdparams": "a Paddle file: convert the model with paddle2onnx",
    ".ort": "a file of ONNX Runtime: take the .onnx file that it was made from",
    ".mlmodel": "a Core ML file: take the checkpoint that it was made from",
    ".engine": "a TensorRT engine: take the ONNX model that it was made from",
    ".trt": "a TensorRT engine: take the ONNX model that it was made from",
}
"""What a file of another kind is, and what to do, by ending."""
_MAGIC = (
    (0, b"GGUF", _GGUF),
    (0, b"\x89HDF\r\n\x1a\n", _KERAS),
    (0, b"lmgg", _GGUF),
    (0, b"tjgg", _GGUF),
    (4, b"TFL3", _LITE),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file: get it with git lfs pull"),
    (0, b"<!DOCTYPE", "a page of the web, not a checkpoint: download the file itself"),
    (0, b"<html", "a page of the web, not a checkpoint: download the file itself"),
)
"""The same by what stands in the file: place, bytes."""


def open_model(path: Path) -> Checkpoint:
    """Open a checkpoint: a file, or a folder that holds one in parts.

    Raises
    ------
    ConfigError
        If the file does not exist or is of a kind that is not read.
    FormatError
        If the file is damaged.
    ToolError
        If reading it needs a package that is not installed.
    """
    if path.is_dir():
        return _told(path, join_pairs(open_folder(path, _open_file)))
    return _told(path, join_pairs(_open_file(path)))


def _open_file(path: Path) -> Checkpoint:
    if not path.is_file():
        raise ConfigError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    ending = path.suffix.lower()
    if is_index(path):
        return open_index(path, _open_file)
    if ending in _REFUSED:
        raise ConfigError(f"{path} is {_REFUSED[ending]}")
    with path.open("rb") as file:
        start = file.read(64)
    for at, magic, what in _MAGIC:
        if start[at:].startswith(magic):
            raise ConfigError(f"{path} is {what}")
    if ending == ".ckpt" and not start.startswith((b"PK", b"\x80")):
        raise ConfigError(
            f"{path} is a .ckpt, but not of torch: convert it with tf2onnx if it is TensorFlow's"
        )
    if ending not in _OPENERS:
        known = ", ".join(FORMATS)
        raise ConfigError(f"{path}: unknown checkpoint type, use one of {known}, or a folder")
    try:
        model = _OPENERS[ending](path)
        return replace(model, files=(path, *model.files))
    except Exception as error:  # readers of other formats raise their own, undocumented types
        if is_told(error):
            raise
        raise FormatError(f"{path}: cannot be read as {ending}: {error}") from error


def _told(path: Path, model: Checkpoint) -> Checkpoint:
    """Return the checkpoint with origins, and a note of the tensors that pass through as they are.

    A name that no safetensors file can hold is refused before any work.
    """
    for name in (*model, *model.ties):
        if name == "__metadata__" or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise FormatError(
                f"{model.path}: tensor {name!r} has a name that safetensors cannot hold: rename it"
            )
    tensors = {name: replace(t, origin=Origin(path, name)) for name, t in model.items()}
    model = replace(model, tensors=tensors)
    kinds = [f"{name} ({t.dtype})" for name, t in model.items() if t.foreign]
    if not kinds:
        return model
    note = f"kept as they are, of types that safetensors lacks: {listed(kinds)}"
    return replace(model, notes=(*model.notes, note))
