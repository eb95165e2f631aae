# SPDX-License-Identifier: Apache-2.0
"""Bit packing, GF(2) kernels and the framing of every stream."""
