# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in: masks, codes, scales and weight orders."""
