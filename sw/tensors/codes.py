# SPDX-License-Identifier: Apache-2.0
"""Codes of kept weights: how many bits they may have."""

import numpy as np
from xorloom.sw.base.errors import ConfigError, check_range

__all__ = ["PLANES_MAX", "check_codes"]

PLANES_MAX = 8
"""Bits per weight: codes are uint8."""


def check_codes(mask: np.ndarray, codes: np.ndarray, planes: int) -> None:
    """Check that ``mask`` and ``codes`` fit each other and ``planes``.

    Raises
    ------
    ConfigError
        If shape, dtype or a code's value does not fit.
    """
    check_range("planes", planes, 1, PLANES_MAX)
    if mask.dtype != np.bool_:
        raise ConfigError(f"mask must be bool, not {mask.dtype} (use mask != 0)")
    if codes.dtype != np.uint8:
        raise ConfigError(f"codes must be uint8, not {codes.dtype}")
    if mask.shape != codes.shape:
        raise ConfigError(f"mask {mask.shape} and codes {codes.shape} must have one shape")
    if planes < 8 and codes.size and int(codes.max()) >> planes:
        at = np.unravel_index(int(codes.argmax()), codes.shape)
        place = tuple(int(i) for i in at)
        raise ConfigError(
            f"code {codes[at]} at {place} needs more than {planes} planes (raise planes)"
        )
