# SPDX-License-Identifier: Apache-2.0
"""Compressed model as a file: safetensors with streams, scales and a manifest.

``FORMAT.md``, "Container", is normative.
"""

from .facts import (
    FOREIGN_KEY,
    INDEX,
    MASK,
    ROTATION_KEY,
    SCALE,
    STREAM,
    CompressedTensor,
    ForeignTensor,
    JoinedTensor,
    StoredTensor,
    content_crc32,
)
from .manifest import MANIFEST_KEY
from .plain import plain_entries, plain_header, plain_metadata, rotations
from .reader import Container, read_container
from .touched import Touched, touched_blocks
from .writer import write_container

__all__ = [
    "FOREIGN_KEY",
    "INDEX",
    "MANIFEST_KEY",
    "MASK",
    "ROTATION_KEY",
    "SCALE",
    "STREAM",
    "CompressedTensor",
    "Container",
    "ForeignTensor",
    "JoinedTensor",
    "StoredTensor",
    "Touched",
    "content_crc32",
    "plain_entries",
    "plain_header",
    "plain_metadata",
    "read_container",
    "rotations",
    "touched_blocks",
    "write_container",
]
