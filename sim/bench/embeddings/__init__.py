# SPDX-License-Identifier: Apache-2.0
"""Embedding benchmark: what compression leaves of MiniLM-L6's embeddings, and of a file's."""

from .files import file_row
from .methods import METHODS, ROTATION, Method, Subject, calibrated, embedding_rows, minilm_subject

__all__ = [
    "METHODS",
    "ROTATION",
    "Method",
    "Subject",
    "calibrated",
    "embedding_rows",
    "file_row",
    "minilm_subject",
]
