# SPDX-License-Identifier: Apache-2.0
"""Test vectors of a unit: streams of the software encoder, decoded by the golden model."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from xorloom.sim.datasets import iid_seeds
from xorloom.sim.simulate.packets import ones
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.codecs import index_decoder, value_decoder, value_levels
from xorloom.sw.golden.direct import direct_levels
from xorloom.sw.golden.output import kept_bytes, leveled, weight_output
from xorloom.sw.golden.weights import weight_decoder
from xorloom.sw.index.plane import choose_index, encode_index
from xorloom.sw.memory.weight_stream import join_tensor
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import IndexConfig, NoneConfig
from xorloom.sw.spec.layout import BeatLayout, Header
from xorloom.sw.spec.weight_format import WeightFormat
from xorloom.sw.value.plane import encode_value, pack_value

from .units import UnitPlan

__all__ = ["Beat", "Vectors", "unit_vectors"]

_LARGE = 1 << 16
"""Most weights of a first tensor that is long enough for a second rate word."""


@dataclass(frozen=True)
class Beat:
    """Beat of ``m_axis``.

    ``care`` marks the bits of ``data`` that count; ``keep`` and ``user`` mean nothing if the unit
    has no such port.
    """

    data: int
    care: int
    last: bool
    keep: int = 0
    user: int = 0


@dataclass(frozen=True)
class Vectors:
    """Memory streams, back to back, and all beats that they must yield.

    Parameters
    ----------
    streams : tuple of bytes
        Whole bus words each.
    bus_bytes : int
    beats : tuple of Beat
    """

    streams: tuple[bytes, ...]
    bus_bytes: int
    beats: tuple[Beat, ...]

    def words(self) -> Iterator[tuple[int, bool]]:
        """Yield bus words, and whether one is its stream's last."""
        for stream in self.streams:
            for at in range(0, len(stream), self.bus_bytes):
                end = at + self.bus_bytes
                yield int.from_bytes(stream[at:end], "little"), end == len(stream)


def _shapes(lanes: int, slices: int) -> tuple[int, ...]:
    """Weights of every tensor: many slices and a part, a single weight, three whole slices."""
    longest = slices if slices * lanes <= _LARGE else 32
    return (longest + 4) * lanes + max(1, lanes // 3), 1, 3 * lanes


def _mask(size: int, density: float, rng: random.Random) -> np.ndarray:
    mask = np.array([rng.random() < density for _ in range(size)])
    mask[0] = True
    return mask


def _codes(size: int, planes: int, rng: random.Random) -> np.ndarray:
    return np.array([rng.getrandbits(planes) for _ in range(size)], np.uint8)


def _indexed(
    size: int, index: IndexConfig, density: float, rng: random.Random
) -> tuple[np.ndarray, bytes]:
    """Return a mask that the index codec can store, and its memory stream."""
    if not index.chooses_mask:
        mask = _mask(size, 1.0 if isinstance(index, NoneConfig) else density, rng)
        return mask, encode_index(mask, index, "row", 0).streams
    weights = np.array([abs(rng.gauss(0, 1)) for _ in range(size)], np.float32)
    chosen = choose_index(weights, density, index, "row", 0, threads=1)
    return chosen.mask, chosen.streams


def _window(config: WindowConfig, rng: random.Random) -> Vectors:
    streams, beats = [], []
    for size in _shapes(config.n_out, config.frame):
        mask = _mask(size, min(0.5, 0.8 * config.n_in / config.n_out), rng)
        data, _, _ = encode_value(mask, _codes(size, 1, rng), 1, config, "row", threads=1)
        slices = value_decoder(config, bus_words(data, config.bus_bits))
        for k, bits in enumerate(slices):
            valid = min(config.n_out, size - k * config.n_out)
            last = k == len(slices) - 1
            beats.append(Beat(bits, ones(config.n_out), last, user=valid))
        streams.append(data)
    return Vectors(tuple(streams), config.bus_bytes, tuple(beats))


def _direct(config: DirectConfig, *, levels: bool) -> Vectors:
    """Vectors of random seeds; bits of lanes without a weight do not count."""
    streams, beats = [], []
    width = 8 if levels else config.planes
    for number, size in enumerate(_shapes(config.lanes, 32)):
        data, _, _ = pack_value(iid_seeds(size, config, number), config)
        words = bus_words(data, config.bus_bits)
        table = direct_levels(config, words)
        slices = value_decoder(config, words)
        for k, bits in enumerate(slices):
            live = min(config.lanes, size - k * config.lanes)
            if levels:
                bits = leveled(bits, config.planes, live, table)
            last = k == len(slices) - 1
            beats.append(Beat(bits, ones(width * live), last, user=live * config.planes))
        streams.append(data)
    return Vectors(tuple(streams), config.bus_bytes, tuple(beats))


def _block(config: BlockConfig, rng: random.Random) -> Vectors:
    n_out, lanes = config.n_out, config.lanes
    size = -(-lanes * n_out // 8)
    streams, beats = [], []
    for weights in _shapes(n_out, 4 * lanes + 1):
        mask = _mask(weights, min(0.5, 0.9 * config.n_in / n_out), rng)
        data, _, _ = encode_value(mask, _codes(weights, 1, rng), 1, config, threads=1)
        groups = value_decoder(config, bus_words(data, config.bus_bits))
        slices = Header.unpack(data, "stream").count
        for k, bits in enumerate(groups):
            live = min(lanes, slices - k * lanes)
            last = k == len(groups) - 1
            beats.append(Beat(bits, ones(8 * size), last, keep=kept_bytes(n_out, live)))
        streams.append(data)
    return Vectors(tuple(streams), config.bus_bytes, tuple(beats))


def _index(config: IndexConfig, density: float, rng: random.Random) -> Vectors:
    streams, beats = [], []
    for size in _shapes(config.n_out, 32):
        _, data = _indexed(size, config, density, rng)
        masks = index_decoder(config, bus_words(data, config.bus_bits))
        for k, mask in enumerate(masks):
            care = ones(min(config.n_out, size - k * config.n_out))
            beats.append(Beat(mask, care, k == len(masks) - 1))
        streams.append(data)
    return Vectors(tuple(streams), config.bus_bytes, tuple(beats))


def _weights(plan: UnitPlan, density: float, rng: random.Random) -> Vectors:
    """Vectors of an IP block: tensors of every index codec that it has."""
    value, planes = plan.config, plan.planes
    layout = BeatLayout(value.n_out, planes, plan.levels, plan.beats)
    lanes = layout.lanes
    streams, beats = [], []
    for number, index in enumerate(plan.indexes):
        form = WeightFormat(value, planes, index)
        # One long stream; a single weight is one for each codec.
        long = value.frame if isinstance(value, WindowConfig) else 32
        for size in _shapes(lanes, 1 if number else long)[: 2 if number else 3]:
            mask, masks = _indexed(size, index, density, rng)
            if isinstance(value, DirectConfig):
                values, _, _ = pack_value(iid_seeds(size, value, number + size), value)
            else:
                chosen = _codes(size, planes, rng)
                most = -(-size // lanes)
                values, _, _ = encode_value(
                    mask, chosen, planes, value, "row", threads=1, slices_per_stream=most
                )
            data, _ = join_tensor(values, masks, form)
            table = value_levels(value, bus_words(values, value.bus_bits)) if plan.levels else None
            for beat in weight_output(layout, weight_decoder(form, data), table or ()):
                beats.append(Beat(beat.data, beat.care, beat.last, beat.keep, beat.user))
            streams.append(data)
    return Vectors(tuple(streams), value.bus_bytes, tuple(beats))


def unit_vectors(plan: UnitPlan, *, density: float = 0.09) -> Vectors | None:
    """Return vectors of a unit, the same for the same parameters; ``None``: a part of a decoder.

    Parameters
    ----------
    plan : UnitPlan
    density : float
        Share of kept weights, for units with an index.

    Raises
    ------
    ConfigError, CapacityError
        If the encoder refuses the density.
    """
    rng = random.Random("xorloom vectors")  # a string's hash does not depend on the process
    if plan.name in ("ip", "stream-ip"):
        return _weights(plan, density, rng)
    if plan.name == "index":
        return _index(plan.indexes[0], density, rng)
    if plan.name != "decoder":
        return None
    if isinstance(plan.config, BlockConfig):
        return _block(plan.config, rng)
    if isinstance(plan.config, DirectConfig):
        return _direct(plan.config, levels=plan.levels)
    assert isinstance(plan.config, WindowConfig)
    return _window(plan.config, rng)
