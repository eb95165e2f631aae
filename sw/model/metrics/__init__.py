# SPDX-License-Identifier: Apache-2.0
"""Metrics: what tensors cost and became, and what information theory allows."""

from .bits import TensorBits, TensorReport, loss_row, mean_error, note_kind

__all__ = ["TensorBits", "TensorReport", "loss_row", "mean_error", "note_kind"]
