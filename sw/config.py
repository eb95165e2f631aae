# SPDX-License-Identifier: Apache-2.0
"""Frozen parameters shared by encoder, golden model and RTL."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import ConfigError, check_range
from .taps import N_IN_MAX, N_OUT_MAX, block_network

__all__ = ["BUS_BITS", "BlockConfig"]

BUS_BITS = (32, 64, 128, 256, 512)
"""Widths of the bus word that the memory stream is made of."""


@dataclass(frozen=True)
class BlockConfig:
    """The block codec of Kwon et al. as one decoder build: network, lanes and stream layout.

    Parameters
    ----------
    n_in : int, 1 to 64
        Seed bits a slice.
    n_out : int, 1 to 32768
        Slice bits: one bit of ``n_out`` consecutive weights.
    lanes : int, 1 to 64
        Slices decoded side by side; ``lanes`` slices are a *group* and leave in one beat.
    patches_per_cycle : int, 1 to 16
        Patches that each lane applies a cycle; a slice with more takes more cycles.
    bus_bits : int, one of 32, 64, 128, 256, 512
        Width of a memory-stream word.
    block_groups : int, 2 to 65536
        Groups that share one n_patch field width (blocked n_patch assignment).
    network_seed : int, 0 to 2**64 - 1
        Seed of :func:`xorloom.sw.taps.block_network`.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    n_in: int = 20
    n_out: int = 200
    lanes: int = 3
    patches_per_cycle: int = 1
    bus_bits: int = 64
    block_groups: int = 16
    network_seed: int = 0

    def __post_init__(self) -> None:
        limits: dict[str, tuple[Any, ...]] = {
            "n_in": (1, N_IN_MAX, "use more lanes for more bits a cycle"),
            "n_out": (1, N_OUT_MAX),
            "lanes": (1, 64),
            "patches_per_cycle": (1, 16),
            "block_groups": (2, 65536),
            "network_seed": (0, (1 << 64) - 1),
        }
        for name, limit in limits.items():  # plain int: NumPy's cannot index Amaranth values
            object.__setattr__(self, name, check_range(name, getattr(self, name), *limit))
        if not hasattr(self.bus_bits, "__index__") or self.bus_bits not in BUS_BITS:
            choices = ", ".join(map(str, BUS_BITS))
            raise ConfigError(f"bus_bits must be one of {choices}, not {self.bus_bits!r}")
        object.__setattr__(self, "bus_bits", int(self.bus_bits))

    @property
    def position_bits(self) -> int:
        """Bits of a patch position, and the widest n_patch field (n_patch <= n_out - 1)."""
        return max(1, (self.n_out - 1).bit_length())

    @property
    def bus_bytes(self) -> int:
        """Bytes of a bus word."""
        return self.bus_bits // 8

    @property
    def rows(self) -> tuple[int, ...]:
        """Network rows, see :func:`xorloom.sw.taps.block_network`."""
        return block_network(self.n_in, self.n_out, self.network_seed)

    def to_dict(self) -> dict[str, int]:
        """Return the parameters as plain integers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BlockConfig":
        """Build from a mapping that names exactly the parameters.

        Raises
        ------
        ConfigError
            If a parameter is missing, unknown or out of range.
        """
        names = {f.name for f in fields(cls)}
        if set(values) != names:
            odd = ", ".join(sorted(set(values) ^ names))
            raise ConfigError(f"block codec parameters do not fit: missing or unknown {odd}")
        return cls(**values)
