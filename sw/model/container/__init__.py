# SPDX-License-Identifier: Apache-2.0
"""Compressed model as a file: safetensors with streams, scales and a manifest.

``FORMAT.md``, "Container", is normative.
"""

from .facts import (
    INDEX,
    MASK,
    SCALE,
    STREAM,
    CompressedTensor,
    ForeignTensor,
    StoredTensor,
    content_crc32,
)
from .reader import Container, read_container
from .writer import write_container

__all__ = [
    "INDEX",
    "MASK",
    "SCALE",
    "STREAM",
    "CompressedTensor",
    "Container",
    "ForeignTensor",
    "StoredTensor",
    "content_crc32",
    "read_container",
    "write_container",
]
