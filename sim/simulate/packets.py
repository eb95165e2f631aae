# SPDX-License-Identifier: Apache-2.0
"""Packets that a decoder must yield for its streams, and how a testbench is told of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Packet", "ones"]


def ones(bits: int) -> int:
    """Return a mask of so many low bits."""
    return (1 << bits) - 1


@dataclass(frozen=True)
class Packet:
    """Expected beats of one stream: an AXI4-Stream packet.

    Parameters
    ----------
    data : bytes
        All beats, each in whole bytes.
    weights : int
    kept : int
        Bits that count in the last beat.
    user : int
        ``tuser`` of the last beat.
    """

    data: bytes
    weights: int
    kept: int
    user: int = 0

    def write(self, path: Path) -> dict[str, Any]:
        """Put the beats into a file; return what a testbench's job says of the packet."""
        path.write_bytes(self.data)
        return {
            "expected": str(path),
            "kept": f"{self.kept:x}",
            "user": self.user,
            "weights": self.weights,
        }
