# SPDX-License-Identifier: Apache-2.0
"""Checkpoints made by hand, for the tests of their readers."""

import json

import numpy as np

__all__ = ["ARRAYS", "raw_safetensors"]

ARRAYS = {
    "f32": (np.arange(12, dtype=np.float32) - 6).reshape(3, 4),
    "f16": np.array([[0.5, -2.0]], np.float16),
    "scalar": np.array(3.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "steps": np.array([1, -2, 3], np.int64),
    "flags": np.array([True, False]),
}


def raw_safetensors(path, header, data=b"", pad=0):
    """Write a safetensors file by hand; ``header`` is bytes or goes through JSON."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    raw += b" " * pad
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path
