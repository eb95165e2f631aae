# SPDX-License-Identifier: Apache-2.0
"""Window codec: care mask and codes to seed streams, and back.

A window slides over one continuous stream of seed bits, and every output is the XOR of a few
window bits. How many steps the window makes between slices follows the number of kept bits, so
any mask is stored at nearly one bit per kept bit and decoded at a fixed rate, without patches.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from xorloom.sw.base.errors import CapacityError, FormatError, check_range
from xorloom.sw.base.workers import mapping
from xorloom.sw.bits.gf2 import pack_bool
from xorloom.sw.bits.lanes import turned_bits
from xorloom.sw.bits.slices import cut_slices, pack_planes
from xorloom.sw.bits.spread import unpack_planes
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.tensors.codes import check_codes
from xorloom.sw.tensors.orders import (
    ORDERS,
    check_order,
    lanes,
    needs_transpose,
    slice_count,
    stream_counts,
)

from . import decoding as kernels
from .arrays import frame_bits, network_taps, new_basis
from .elimination import solve
from .geometry import geometry
from .order_choice import IndexBits, OrderCost, default_targets, rank_orders, worth_trying
from .rate_control import FULL, STUCK, encode_stream

__all__ = [
    "STREAM_BITS",
    "SeedStream",
    "WindowStreams",
    "decode",
    "decode_planes",
    "encode",
    "per_slice",
    "read_stream",
    "slice_ends",
    "stream_slices",
]

STREAM_BITS = 1 << 19
"""Kept bits that one stream is meant to hold: the encoder's memory follows this, not the model."""


@dataclass(frozen=True)
class SeedStream:
    """Seed stream: the seeds of one stream, rate words included.

    Parameters
    ----------
    seeds : (ceil(chunks * n_in / 64) + 2,) or longer, uint64
        Packed bits.
    chunks : int
        Steps of the window, preload included, ``n_in`` bits each.
    count : int
        Slice bits; see :func:`xorloom.sw.tensors.orders.stream_counts`.
    facts : (frames, 2) int64
        Rate word and number of patches of every frame.
    attempts : int
        Frames encoded, those that were undone included; 0 if read from a file.
    """

    seeds: np.ndarray
    chunks: int
    count: int
    facts: np.ndarray
    attempts: int = 0

    @property
    def n_patches(self) -> int:
        """Patches of the stream."""
        return int(self.facts[:, 1].sum())


@dataclass(frozen=True)
class WindowStreams:
    """Value plane of a tensor, as seed streams.

    Parameters
    ----------
    order : str
        One of :data:`xorloom.sw.tensors.orders.ORDERS`.
    slices_per_stream : int
        Slices of all streams but the last.
    streams : tuple of SeedStream
    """

    order: str
    slices_per_stream: int
    streams: tuple[SeedStream, ...]


def per_slice(config: WindowConfig, planes: int) -> int:
    """Weights of a slice; ``n_out % planes`` outputs stay unused."""
    return config.n_out // planes


def stream_slices(
    weights: int, kept_bits: int, planes: int, config: WindowConfig, multiple: int = 1
) -> int:
    """Return how many slices every stream of a tensor should have.

    About :data:`STREAM_BITS` kept bits, in whole frames and a multiple of ``multiple``.
    """
    total = slice_count(weights, per_slice(config, planes))
    step = math.lcm(config.frame, multiple)
    most = (1 << 32) - 1 - step * config.n_out  # slice bits that a header can count
    n_streams = max(1, round(kept_bits / STREAM_BITS), -(-total * config.n_out // most))
    return -(-max(1, -(-total // n_streams)) // step) * step


def _encode_one(
    care: np.ndarray, value: np.ndarray, count: int, config: WindowConfig, target: int
) -> SeedStream:
    """Encode one stream of packed slices (slices, n_out / 64)."""
    shape = geometry(config)
    slices = care.shape[0]
    facts = np.zeros((-(-slices // config.frame), 3), np.int64)
    kept = int(np.bitwise_count(care).sum())
    n_bits = max(kept + kept // 16, slices * config.n_in) + 2 * frame_bits(config)
    while True:
        basis = new_basis(config, n_bits)
        status, place = encode_stream(
            care,
            value,
            network_taps(config),
            shape,
            target,
            default_targets(config)[1],
            basis,
            facts,
        )
        if status != FULL:
            break
        n_bits *= 2
    if status == STUCK:
        raise CapacityError(
            f"slices {place * config.frame} to {place * config.frame + config.frame - 1} keep too "
            f"many weights for window {config.window} and n_out {config.n_out} "
            "(use window >= n_out, another order, or patches)"
        )
    n_bits = place * config.n_in
    words = np.zeros(n_bits // 64 + config.window // 64 + 3, np.uint64)
    solve(basis, n_bits, words)
    seeds = words[: -(-n_bits // 64) + 2]
    return SeedStream(seeds, place, count, facts[:, :2].copy(), int(facts[:, 2].sum()))


def encode(
    mask: np.ndarray,
    codes: np.ndarray,
    planes: int,
    config: WindowConfig,
    *,
    order: str = "auto",
    slices_per_stream: int | None = None,
    target: int | None = None,
    threads: int | None = None,
    index_bits: IndexBits | None = None,
) -> WindowStreams:
    """Encode kept codes; with ``window >= n_out`` any mask works.

    Parameters
    ----------
    mask : bool array of any shape
        True where the weight is kept.
    codes : uint8 array of the same shape
        Codes below ``2**planes``; ignored where pruned.
    planes : int, 1 to 8
    config : WindowConfig
    order : str
        One of :data:`xorloom.sw.tensors.orders.ORDERS`, or ``auto`` for the one that needs the
        fewest bits, by a model of the rate control; small tensors are encoded to compare.
    slices_per_stream : int, optional
        A multiple of ``frame``, see :func:`stream_slices`, which is the default.
    target : int, optional
        Live unknowns that the rate control aims for, 9/16 of the window by default. Fewer store a
        little less and take longer.
    threads : int, optional
        All available cores by default.
    index_bits : callable, optional
        What the index costs in an order, for ``auto``; the same in all by default.

    Raises
    ------
    ConfigError
        If mask, codes and planes do not fit together, or the order is unknown.
    CapacityError
        If the mask is too dense for a window shorter than ``n_out``.
    """
    check_codes(mask, codes, planes)
    if order != "auto":
        check_order(order)
    if target is None:
        target = default_targets(config)[0]
    check_range("target", target, 0, config.window)
    lane_count = per_slice(config, planes)
    total = slice_count(mask.size, lane_count)
    kept = int(np.count_nonzero(mask)) * planes
    size = slices_per_stream or stream_slices(mask.size, kept, planes, config)
    counts = stream_counts(mask.size, planes, config.n_out, size)
    rows = pack_planes(mask.reshape(-1), codes.reshape(-1), planes, config.n_out)
    packed = {False: rows}
    network_taps(config)  # once, not in every thread

    def run(name: str, k: int) -> SeedStream:
        slices = min(size, total - k * size)
        care = np.empty((slices, config.n_out // 64), np.uint64)
        value = np.empty_like(care)
        where = lanes(name, mask.size, lane_count)
        cut_slices(packed[needs_transpose(name)], where, k * size, care, value)
        return _encode_one(care, value, counts[k], config, target)

    names = [order]
    if order == "auto":
        names = [name for name in ORDERS if mask.ndim > 1 or not needs_transpose(name)]
    masks = {False: rows[0]}
    with mapping(threads) as each:
        ranked = [OrderCost(name) for name in names]
        if len(names) > 1:
            if mask.ndim > 1:
                masks[True] = _turned(rows[:1], mask.shape)[0]
            targets = (target, default_targets(config)[1])
            ranked = rank_orders(
                names, masks, mask.size, planes, config, size, targets, index_bits, each
            )
        best: tuple[float, WindowStreams] | None = None
        refused: CapacityError | None = None
        for place, cost in enumerate(ranked):
            if best and place >= worth_trying(ranked, kept):
                break
            if needs_transpose(cost.order) and True not in packed:
                packed[True] = _turned(rows, mask.shape)
            try:
                streams = tuple(each(partial(run, cost.order), range(len(counts))))
            except CapacityError as error:  # the next order may spread the mask better
                refused = refused or error
                continue
            bits = sum(stream.chunks for stream in streams) * config.n_in + cost.index
            if best is None or bits < best[0]:
                best = (bits, WindowStreams(cost.order, size, streams))
    if best is None:
        assert refused is not None
        raise refused
    return best[1]


def _turned(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Transpose packed planes of a tensor, as the orders ``-column`` need them."""
    size = math.prod(shape)
    if len(shape) < 2 or not size:
        return rows
    return turned_bits(rows, shape[0], size // shape[0])


@lru_cache(maxsize=4)
def _network(config: WindowConfig) -> tuple[np.ndarray, np.ndarray]:
    """The network's taps as arrays, see ``decode_slices``."""
    network = config.network
    parities = np.array(network.parities, np.uint64).reshape(config.shared, config.parity_taps)
    picks = np.array(network.picks, np.uint64).reshape(config.n_out, config.shared_taps)
    taps = (np.array(network.own, np.uint64), picks + np.uint64(config.window))
    return parities, np.concatenate(taps, axis=1)


def _walk(
    seeds: np.ndarray, n_chunks: int, count: int, config: WindowConfig, where: str
) -> tuple[np.ndarray, np.ndarray, SeedStream]:
    """Follow rate words and patches; return chunks and patch of every slice, and the stream."""
    slices = -(-count // config.n_out)
    if slices and slices + config.preload_steps > n_chunks:
        raise FormatError(
            f"{where}: {slices} slices take at least {slices + config.preload_steps} chunks of "
            f"{config.n_in} bits, the stream has {n_chunks}"
        )
    ends, flips = np.zeros(slices, np.int64), np.zeros(slices, np.int64)
    facts = np.zeros((-(-slices // config.frame), 2), np.int64)
    status, place = kernels.walk(
        seeds, n_chunks, geometry(config), config.n_out, ends, flips, facts
    )
    if status == kernels.BAD_RATE:
        raise FormatError(
            f"{where}: rate word of frame {place} ({facts[place, 0]}) asks for more than the "
            f"stream's {n_chunks} chunks of {config.n_in} bits"
        )
    if status == kernels.BAD_PATCH:
        raise FormatError(f"{where}: patch entry in frame {place} fits no slice of the frame")
    return ends, flips, SeedStream(seeds, place, count, facts)


def read_stream(
    seeds: np.ndarray, n_chunks: int, count: int, config: WindowConfig, where: str
) -> SeedStream:
    """Make a stream of packed seed bits out of a file.

    Parameters
    ----------
    seeds : (ceil(n_chunks * n_in / 64) + 2,) uint64
    n_chunks : int
        Chunks there are at most; the rate words tell how many are used.
    count : int
        Slice bits.

    Raises
    ------
    FormatError
        If rate words or patch entries do not fit the length; ``where`` names the stream.
    """
    return _walk(seeds, n_chunks, count, config, where)[2]


def slice_ends(stream: SeedStream, config: WindowConfig) -> np.ndarray:
    """Return how many chunks the window has taken when a slice is in it, (slices,) int64."""
    return _walk(stream.seeds, stream.chunks, stream.count, config, "stream")[0]


def decode_planes(
    encoded: WindowStreams,
    shape: tuple[int, ...],
    planes: int,
    config: WindowConfig,
    where: str = "stream",
) -> np.ndarray:
    """Return packed bits of all weights, those of pruned ones as the network makes them.

    Returns
    -------
    (planes, words) uint64
        Plane b of the codes, in row-major order, at least ceil(weights / 64) words.

    Raises
    ------
    FormatError
        If rate words, patches and stream lengths do not fit together; ``where`` names the tensor.
    """
    weights = math.prod(shape)
    lane_count = per_slice(config, planes)
    places = lanes(check_order(encoded.order), weights, lane_count)
    total = slice_count(weights, lane_count)
    words = np.zeros((planes, -(-total * lane_count // 64) + 2), np.uint64)
    first = 0
    for k, stream in enumerate(encoded.streams):
        ends, flips, _ = _walk(stream.seeds, stream.chunks, stream.count, config, f"{where}: {k}")
        kernels.decode_slices(
            stream.seeds,
            ends,
            flips,
            first,
            geometry(config),
            *_network(config),
            places,
            planes,
            words,
        )
        first += ends.size
    if needs_transpose(encoded.order) and len(shape) > 1 and weights:
        return turned_bits(words, weights // shape[0], shape[0])
    return words


def decode(
    encoded: WindowStreams,
    mask: np.ndarray,
    planes: int,
    config: WindowConfig,
    where: str = "stream",
) -> np.ndarray:
    """Return the codes, uint8 of ``mask``'s shape, 0 where pruned, as the golden model does.

    Raises
    ------
    FormatError
        As :func:`decode_planes`.
    """
    words = decode_planes(encoded, mask.shape, planes, config, where)
    care = pack_bool(np.ascontiguousarray(mask), spare_words=0)
    return unpack_planes(words[:, : care.size] & care, mask.size).reshape(mask.shape)
