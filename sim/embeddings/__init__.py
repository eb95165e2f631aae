# SPDX-License-Identifier: Apache-2.0
"""Sentence embeddings of MiniLM-L6 in NumPy: text, forward pass, and how much of them is kept."""
