# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in: safetensors, npz, ONNX, and torch behind an extra."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError, ToolError
from xorloom.sw.tensors.safetensors_file import DTYPES, read_header

from .model import Checkpoint, ModelTensor, from_arrays

__all__ = ["FORMATS", "open_model"]

FORMATS = (".safetensors", ".npz", ".onnx", ".pt", ".pth", ".bin")
"""Known file name endings."""


def _open_safetensors(path: Path) -> Checkpoint:
    header, metadata, _, start = read_header(path)

    def loader(entry: dict[str, Any]) -> Callable[[], np.ndarray]:
        dtype, shape, low = DTYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"][0]

        def load() -> np.ndarray:
            if 0 in shape:
                return np.zeros(shape, dtype)
            return np.asarray(np.memmap(path, dtype, "r", start + low, shape or (1,))).reshape(
                shape
            )

        return load

    tensors = {
        name: ModelTensor(
            name, entry["dtype"], tuple(entry["shape"]), loader(entry), source=str(path)
        )
        for name, entry in header.items()
    }
    return Checkpoint(tensors, path, metadata)


def _open_npz(path: Path) -> Checkpoint:
    with np.load(path, allow_pickle=False) as archive:
        return from_arrays({name: archive[name] for name in archive.files})


def _open_onnx(path: Path) -> Checkpoint:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    if not model.ir_version:
        raise FormatError(f"{path}: not an ONNX model, or empty")
    return from_arrays(
        {t.name: np.asarray(numpy_helper.to_array(t)) for t in model.graph.initializer}
    )


def _open_torch(path: Path) -> Checkpoint:
    try:
        import torch
    except ImportError:
        raise ToolError(
            f"{path}: reading torch checkpoints needs torch: pip install 'xorloom[torch]'"
        ) from None
    import ml_dtypes

    # weights_only: a checkpoint must not be able to run code.
    state = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise FormatError(f"{path}: expected a dict of tensors, found {type(state).__name__}")
    arrays = {}
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        flat = tensor.detach().contiguous()
        if flat.dtype == torch.bfloat16:
            arrays[name] = flat.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
        else:
            arrays[name] = flat.numpy()
    return from_arrays(arrays)


def open_model(path: Path) -> Checkpoint:
    """Open a checkpoint; tensors by name, in file order.

    Raises
    ------
    ConfigError
        If the file does not exist or its ending is unknown.
    FormatError
        If the file is damaged.
    ToolError
        If reading it needs a package that is not installed.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    openers = {".safetensors": _open_safetensors, ".npz": _open_npz, ".onnx": _open_onnx}
    openers |= dict.fromkeys((".pt", ".pth", ".bin"), _open_torch)
    if path.suffix not in openers:
        raise ConfigError(f"{path}: unknown checkpoint type, use one of {', '.join(FORMATS)}")
    try:
        return openers[path.suffix](path)
    except (ConfigError, FormatError, ToolError, OSError):
        raise
    except Exception as error:  # readers of other formats raise their own, undocumented types
        raise FormatError(f"{path}: cannot be read as {path.suffix}: {error}") from error
