# SPDX-License-Identifier: Apache-2.0
"""Codes of kept weights: how many bits they may have, and the user's own in two's complement."""

import numpy as np
from xorloom.sw.base.errors import ConfigError, check_range

__all__ = ["PLANES_MAX", "check_codes", "signed_codes", "unsigned_codes"]

PLANES_MAX = 8
"""Bits per weight: codes are uint8."""


def _first(wrong: np.ndarray) -> tuple[int, ...]:
    """Return the first place where ``wrong`` is True."""
    return tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))


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
        at = _first(codes >> np.uint8(planes) != 0)
        raise ConfigError(
            f"code {codes[at]} at {at} needs more than {planes} planes (raise planes)"
        )


def unsigned_codes(codes: np.ndarray, planes: int, name: str = "codes") -> np.ndarray:
    """Return a user's codes as they are stored.

    Parameters
    ----------
    codes : int8 or uint8 array
        Int8: two's complement of ``planes`` bits, -2**(planes - 1) to 2**(planes - 1) - 1. Uint8:
        0 to 2**planes - 1.
    planes : int, 1 to 8
    name : str
        Of the tensor, for messages.

    Returns
    -------
    uint8 array of the same shape: the lowest ``planes`` bits of each code.

    Raises
    ------
    ConfigError
        If the dtype is another, or a code needs more bits.
    """
    check_range("planes", planes, 1, PLANES_MAX)
    if codes.dtype not in (np.int8, np.uint8):
        raise ConfigError(f"{name}: codes must be int8 or uint8, not {codes.dtype}")
    low, high = (-(1 << planes - 1), (1 << planes - 1) - 1)
    if codes.dtype == np.uint8:
        low, high = 0, (1 << planes) - 1
    wrong = (codes < low) | (codes > high)
    if wrong.any():
        at = _first(wrong)
        need = max(_width(int(codes.min()), codes.dtype), _width(int(codes.max()), codes.dtype))
        raise ConfigError(
            f"{name}: code {codes[at]} at {at} must be between {low} and {high} for {planes} "
            f"planes of {codes.dtype} codes (use {need} planes)"
        )
    return codes.view(np.uint8) & np.uint8((1 << planes) - 1)


def _width(code: int, dtype: np.dtype) -> int:
    """Return the bits that a code needs, its sign included."""
    signed = dtype == np.int8
    return max(1, (~code if code < 0 else code).bit_length() + signed)


def signed_codes(codes: np.ndarray, planes: int) -> np.ndarray:
    """Return stored codes as int8: bit ``planes - 1`` is the sign, of weight -2**(planes - 1).

    Parameters
    ----------
    codes : uint8 array
        Below ``2**planes``.
    planes : int, 1 to 8
    """
    check_range("planes", planes, 1, PLANES_MAX)
    shift = np.uint8(8 - planes)
    return (codes << shift).view(np.int8) >> shift.view(np.int8)
