# SPDX-License-Identifier: Apache-2.0
"""Widths of a baseline decoder."""

from dataclasses import dataclass

from xorloom.hw.baselines.common import check_baseline

__all__ = ["BaselineConfig"]


@dataclass(frozen=True)
class BaselineConfig:
    """Widths of a baseline decoder; ``lanes`` are those of Rice code.

    Raises
    ------
    ConfigError
        If a width is out of range.
    """

    bus_bits: int = 64
    n_out: int = 256
    planes: int = 1
    lanes: int = 16

    def __post_init__(self) -> None:
        """Check the widths."""
        check_baseline(self.bus_bits, self.n_out, self.planes)

    @property
    def word_bytes(self) -> int:
        """Bytes of a bus word."""
        return self.bus_bits // 8
