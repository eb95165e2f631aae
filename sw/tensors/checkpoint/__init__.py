# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in: safetensors, npz, ONNX, torch, and folders of them."""

from .model import Checkpoint, ModelTensor, from_arrays
from .opening import FORMATS, open_model

__all__ = ["FORMATS", "Checkpoint", "ModelTensor", "from_arrays", "open_model"]
