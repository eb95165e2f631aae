# SPDX-License-Identifier: Apache-2.0
"""Parameters of the value decoders, shared by encoder, golden model and RTL; frozen."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from xorloom.sw.base.errors import ConfigError, check_range

from .taps import N_IN_MAX, N_OUT_MAX, WindowNetwork, block_network, columns, window_network

__all__ = [
    "BUS_BITS",
    "BlockConfig",
    "DecoderConfig",
    "ValueConfig",
    "WindowConfig",
    "check_bus",
    "lanes_for",
]

BUS_BITS = (32, 64, 128, 256, 512)
"""Widths of the bus word that the memory stream is made of."""


def check_bus(bus_bits: object) -> int:
    """Return a bus width as a plain int.

    Raises
    ------
    ConfigError
        If it is not one of :data:`BUS_BITS`.
    """
    if not hasattr(bus_bits, "__index__") or bus_bits not in BUS_BITS:
        choices = ", ".join(map(str, BUS_BITS))
        raise ConfigError(f"bus_bits must be one of {choices}, not {bus_bits!r}")
    return int(bus_bits.__index__())


class DecoderConfig:
    """Parameters of one decoder build: what the frozen classes of all codecs have in common."""

    codec: ClassVar[str]
    """Name of the codec: in files, on the command line, and of its modules in every layer."""
    kind: ClassVar[int]
    """Number of the codec in the headers of memory streams."""
    bus_bits: int

    def _check(
        self,
        limits: Mapping[str, tuple[Any, ...]],
        *,
        powers: Collection[str] = (),
        steps: Mapping[str, int] | None = None,
    ) -> None:
        """Check ranges and the bus width; make plain ints (NumPy's cannot index Amaranth).

        Those named in ``powers`` are powers of two, those in ``steps`` multiples.
        """
        for name, limit in limits.items():
            kind: dict[str, Any] = {"step": (steps or {}).get(name, 1), "power": name in powers}
            value = check_range(name, getattr(self, name), *limit, **kind)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "bus_bits", check_bus(self.bus_bits))

    @property
    def bus_bytes(self) -> int:
        """Bytes of a bus word."""
        return self.bus_bits // 8

    def to_dict(self) -> dict[str, int]:
        """Return the parameters as plain integers, for JSON."""
        names = (f.name for f in fields(self))  # type: ignore[arg-type]
        return {name: getattr(self, name) for name in names}

    @property
    def identity(self) -> str:
        """Text that tells one network from another, see :func:`xorloom.sw.spec.layout.network_id`.

        Decimal values of all parameters but the bus width.
        """
        values = self.to_dict()
        del values["bus_bits"]
        return ",".join(map(str, values.values()))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping that names exactly the parameters.

        Raises
        ------
        ConfigError
            If a parameter is missing, unknown or out of range.
        """
        names = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        if set(values) != names:
            odd = ", ".join(sorted(set(values) ^ names))
            raise ConfigError(f"{cls.codec} codec parameters do not fit: missing or unknown {odd}")
        return cls(**values)


class ValueConfig(DecoderConfig):
    """Parameters of one value decoder: what the frozen classes of all value codecs have in common.

    A subclass names every fact that other layers ask a codec for; :mod:`xorloom.sw.spec.codecs`
    lists the subclasses.
    """

    n_in: int
    n_out: int
    has_layouts: ClassVar[bool] = True
    """Whether a tensor's weights can lie in several orders and streams."""
    chooses_values: ClassVar[bool] = False
    """Whether the codec chooses the codes itself, of all weights; the others store any codes."""
    indexes: ClassVar[tuple[str, ...]] = ()
    """Names of the index codecs that go with it; empty: all of them."""
    n_out_step: ClassVar[int] = 1
    """What ``n_out`` is a multiple of."""

    @property
    def columns(self) -> tuple[int, ...]:
        """Network columns, see :func:`xorloom.sw.spec.taps.columns`."""
        raise NotImplementedError

    @property
    def slices_per_beat(self) -> int:
        """Slices that leave the decoder in one beat."""
        return 1

    def check_planes(self, planes: int) -> None:
        """Check that a weight's code can have so many bits.

        Raises
        ------
        ConfigError
            If it cannot.
        """


@dataclass(frozen=True)
class BlockConfig(ValueConfig):
    """Block decoder of Kwon et al.: network, lanes and stream layout of one build.

    Parameters
    ----------
    n_in : int, 1 to 64
        Seed bits per slice.
    n_out : int, 1 to 32768
        Slice bits: one bit of ``n_out`` consecutive weights.
    lanes : int, 1 to 64
        Slices decoded side by side; ``lanes`` slices are a *group* and leave in one beat.
    patches_per_cycle : int, 1 to 16
        Most patches per lane and cycle; a slice with more takes more cycles.
    bus_bits : int, one of 32, 64, 128, 256, 512
        Width of a memory-stream word.
    block_groups : int, 2 to 65536
        Groups that share one n_patch field width (blocked n_patch assignment).
    network_seed : int, 0 to 2**64 - 1
        Seed of :func:`xorloom.sw.spec.taps.block_network`.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    codec = "block"
    kind = 2
    has_layouts = False
    indexes = ("bitmap",)

    n_in: int = 20
    n_out: int = 200
    lanes: int = 3
    patches_per_cycle: int = 1
    bus_bits: int = 64
    block_groups: int = 16
    network_seed: int = 0

    def __post_init__(self) -> None:
        self._check(
            {
                "n_in": (1, N_IN_MAX, "use more lanes for more bits per cycle"),
                "n_out": (1, N_OUT_MAX),
                "lanes": (1, 64),
                "patches_per_cycle": (1, 16),
                "block_groups": (2, 65536),
                "network_seed": (0, (1 << 64) - 1),
            }
        )

    @property
    def position_bits(self) -> int:
        """Bits of a patch position, and the widest n_patch field (n_patch <= n_out - 1)."""
        return max(1, (self.n_out - 1).bit_length())

    @property
    def rows(self) -> tuple[int, ...]:
        """Network rows, see :func:`xorloom.sw.spec.taps.block_network`."""
        return block_network(self.n_in, self.n_out, self.network_seed)

    @property
    def columns(self) -> tuple[int, ...]:
        """Network columns, see :func:`xorloom.sw.spec.taps.columns`."""
        return columns(self.rows, self.n_in)

    @property
    def slices_per_beat(self) -> int:
        """Slices that leave the decoder in one beat."""
        return self.lanes

    @property
    def identity(self) -> str:
        """Text that tells one network from another, as in :class:`DecoderConfig`."""
        return f"{self.n_in},{self.n_out},{self.network_seed}"


@dataclass(frozen=True)
class WindowConfig(ValueConfig):
    """Window decoder: the parameters of one build.

    A window of ``window`` seed bits moves ``n_in`` bits per step over one continuous seed stream.
    An output is the XOR of ``own_taps`` window bits and ``shared_taps`` shared parities, each the
    XOR of ``parity_taps`` window bits; own_taps 7 and shared_taps 0 is a network of plain 7-input
    XORs.

    Parameters
    ----------
    n_in : int, a power of two, 8 to 256
        Seed bits per step, that is, per cycle.
    n_out : int, a multiple of 64, 64 to 2048
        Slice bits: all planes of ``n_out // planes`` weights.
    window : int, a multiple of 64 and of ``n_in``, 64 to 2048
        With ``window >= n_out`` every mask can be encoded.
    own_taps : int, 1 to 32
    shared_taps : int, 0 to 8
    shared : int, 0 to 4096
        Number of shared parities; 0 exactly if ``shared_taps`` is.
    parity_taps : int, 1 to 8
    frame : int, a power of two, 16 to 1024
        Slices that share one rate word.
    patches : int, 0 or 1
        Patches that a slice may have.
    bus_bits : int, one of 32, 64, 128, 256, 512
        Width of a memory-stream word.
    network_seed : int, 0 to 2**64 - 1
        Seed of :func:`xorloom.sw.spec.taps.window_network`.

    Raises
    ------
    ConfigError
        If a parameter is out of range or two do not fit together.
    """

    codec = "window"
    kind = 3
    n_out_step = 64

    n_in: int = 16
    n_out: int = 512
    window: int = 512
    own_taps: int = 1
    shared_taps: int = 3
    shared: int = 256
    parity_taps: int = 4
    frame: int = 128
    patches: int = 0
    bus_bits: int = 64
    network_seed: int = 0

    def __post_init__(self) -> None:
        self._check(
            {
                "n_in": (8, 256, "more bits per cycle need several decoders"),
                "n_out": (64, 2048),
                "own_taps": (1, 32),
                "shared_taps": (0, 8),
                "shared": (0, 4096),
                "parity_taps": (1, 8),
                "frame": (16, 1024),
                "patches": (0, 1, "a slice with more conflicts gets more steps"),
                "network_seed": (0, (1 << 64) - 1),
            },
            powers=("n_in", "frame"),
            steps={"n_out": self.n_out_step},
        )
        self._check({"window": (64, 2048)}, steps={"window": max(64, self.n_in)})
        if (self.shared == 0) != (self.shared_taps == 0):
            raise ConfigError(
                f"shared {self.shared} and shared_taps {self.shared_taps} must both be 0 or neither"
            )
        if self.shared_taps > self.shared:
            raise ConfigError(
                f"shared_taps {self.shared_taps} must not exceed shared {self.shared}"
            )
        if self.patches and self.rate_bits + self.patch_bits > self.n_in:
            raise ConfigError(
                f"with patches, n_in must hold {self.rate_bits} rate bits and {self.patch_bits} "
                f"patch bits, not {self.n_in} (raise n_in or lower frame)"
            )

    @property
    def position_bits(self) -> int:
        """Bits of a patch position."""
        return (self.n_out - 1).bit_length()

    @property
    def preload_steps(self) -> int:
        """Steps before the first frame's: they fill the window but for one chunk."""
        return self.window // self.n_in - 1

    @property
    def rate_shift(self) -> int:
        """A rate word counts units of ``2**rate_shift`` steps."""
        shift = 0
        while ((1 << self.n_in) - 1) << shift < self._rate_span:
            shift += 1
        return shift

    @property
    def rate_bits(self) -> int:
        """Bits of a rate word: a frame has ``frame + (rate << rate_shift)`` steps."""
        return min(self.n_in, (-(-self._rate_span >> self.rate_shift)).bit_length())

    @property
    def _rate_span(self) -> int:
        """Steps beyond ``frame`` of a frame whose every slice sees a window of its own.

        The one step more moves the rate word out of the first slice's window.
        """
        return self.frame * (self.window // self.n_in - 1) + 1

    @property
    def frame_steps_max(self) -> int:
        """Most steps of a frame."""
        return self.frame + (((1 << self.rate_bits) - 1) << self.rate_shift)

    @property
    def patch_bits(self) -> int:
        """Bits of a patch entry: valid, slice of the frame, position."""
        return 1 + (self.frame - 1).bit_length() + self.position_bits

    @property
    def taps(self) -> int:
        """Window bits that an output depends on."""
        return self.own_taps + self.shared_taps * self.parity_taps

    @property
    def network(self) -> WindowNetwork:
        """The network, see :func:`xorloom.sw.spec.taps.window_network`."""
        return window_network(
            self.window,
            self.n_out,
            self.own_taps,
            self.shared_taps,
            self.shared,
            self.parity_taps,
            self.network_seed,
        )

    @property
    def columns(self) -> tuple[int, ...]:
        """Network columns, see :func:`xorloom.sw.spec.taps.columns`."""
        return columns(self.network.rows, self.window)


def lanes_for(n_in: int, bus_bits: int) -> int:
    """Lanes whose seeds fill one bus word."""
    return max(1, bus_bits // max(1, n_in))
