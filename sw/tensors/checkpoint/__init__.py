# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in: safetensors, npz, ONNX, torch, and folders of them."""

from .into import into_model
from .model import Checkpoint, ModelTensor, from_arrays
from .opening import FORMATS, open_model

__all__ = ["FORMATS", "Checkpoint", "ModelTensor", "from_arrays", "into_model", "open_model"]
