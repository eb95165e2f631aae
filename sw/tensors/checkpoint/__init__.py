# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in: safetensors, npz, ONNX, torch, and folders of them."""

from .folder import files_beside
from .into import into_model
from .model import Checkpoint, ModelTensor, from_arrays
from .opening import FORMATS, open_model

__all__ = [
    "FORMATS",
    "Checkpoint",
    "ModelTensor",
    "files_beside",
    "from_arrays",
    "into_model",
    "open_model",
]
