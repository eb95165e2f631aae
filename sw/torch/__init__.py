# SPDX-License-Identifier: Apache-2.0
"""Models of torch: calibration by forward passes. Needs the extra ``torch``."""

from .collect import collect

__all__ = ["collect"]
