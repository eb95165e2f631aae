# SPDX-License-Identifier: Apache-2.0
"""Decoders to compare with: CSR, bitmask, dense, Rice."""
