# SPDX-License-Identifier: Apache-2.0
"""Low-rank index: a chosen mask as boolean products of binary factors, tile by tile.

The format of Lee et al., "Network Pruning for Low-Rank Binary Indexing", arXiv 1905.05686: inside
a tile the mask is ``OR_r (A[l, r] AND B[r, e])`` for lane l and slice e. ``FORMAT.md`` is
normative for the streams.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError, DensityError, FormatError
from xorloom.sw.base.host import threads_default
from xorloom.sw.base.workers import mapping
from xorloom.sw.bits.framing import frame_payload, unframe_payload
from xorloom.sw.index.density import is_met, wanted_count
from xorloom.sw.spec.index_config import LowrankConfig
from xorloom.sw.spec.layout import Header, network_id

from . import kernels
from .bits import LowrankBits, bits_of, sets_of, stream_bits
from .fit import TOLERANCE, Fit, fit_price, tile_sizes
from .kernels import Tiles

__all__ = [
    "LowrankBits",
    "LowrankChoice",
    "choose",
    "pack",
    "split",
    "stream_bits",
    "unpack",
]

_ATTEMPTS = 16
_DITHER = 1e-4
"""Of the mean importance: equal importances get an order, so that any density has its price."""


@dataclass(frozen=True)
class LowrankChoice:
    """Chosen mask and its factors.

    Parameters
    ----------
    mask : (slices, n_out) bool
        False where there is no weight.
    lane : (tile rows, n_out) uint32
        Bit r is A[l, r] of the tile at lane l.
    beat : (slices, tiles) uint32
        Bit r is B[r, e] of a tile.
    slices_per_stream : int
        Tile rows begin anew with every stream; 0: one stream.
    kept : float
        Importance of what is kept, as a share of that of the same number of largest ones.
    """

    mask: np.ndarray
    lane: np.ndarray
    beat: np.ndarray
    slices_per_stream: int
    kept: float

    @property
    def count(self) -> int:
        """Weights kept."""
        return int(np.count_nonzero(self.mask))


def _row_starts(slices: int, tile_slices: int, slices_per_stream: int) -> np.ndarray:
    """First slice of every tile row, and the number of slices."""
    span = slices_per_stream or max(1, slices)
    starts = [
        np.arange(begin, min(begin + span, slices), tile_slices) for begin in range(0, slices, span)
    ]
    return np.concatenate([*starts, [slices]]).astype(np.int64)


def _check(importance: np.ndarray, live: int, density: float, config: LowrankConfig) -> None:
    if importance.ndim != 2 or importance.shape[1] != config.n_out:
        raise ConfigError(
            f"importance must be of shape (slices, {config.n_out}), not {importance.shape}"
        )
    if not importance.size - config.n_out < live <= importance.size:
        raise ConfigError(
            f"live must be {importance.size} or up to {config.n_out - 1} less, not {live}"
        )
    if not 0.0 <= density <= 1.0:
        raise ConfigError(f"density must be between 0 and 1, not {density!r}")


def choose(
    importance: np.ndarray,
    live: int,
    density: float,
    config: LowrankConfig,
    *,
    local_search: bool = True,
    slices_per_stream: int = 0,
    exact: bool = True,
    tries: int = 64,
    seed: int = 0,
    threads: int | None = None,
) -> LowrankChoice:
    """Choose a mask that the format can hold and that keeps much importance.

    The heuristic is the paper's: thresholds on a non-negative factorization of every tile, each
    tile with the same density. The local search begins with its factors and maximizes
    ``importance - price`` over the mask, with one price for all tiles, so that a tile's density
    follows its importance. In the end single factor bits are inverted, those that cost least,
    until the wanted number of weights is kept, exactly if that can be.

    Parameters
    ----------
    importance : (slices, n_out) float
        Not negative; 0 where there is no weight. A weight without importance gains nothing, but
        may be kept for the sake of others.
    live : int
        Weights: the first so many places in C order.
    density : float
        See :func:`xorloom.sw.index.density.wanted_count`.
    config : LowrankConfig
    local_search : bool
        False: the heuristic only.
    slices_per_stream : int
        Slices of all streams but the last; 0: one stream.
    exact : bool
        False: a density within 0.3 % is good enough.
    tries : int
        New beginnings of the local search in every tile.
    seed : int
        Of the random beginnings; the result depends on nothing else.
    threads : int, optional

    Raises
    ------
    ConfigError
        If an argument is out of range.
    DensityError
        If the density cannot be met within 2 % or one weight: tensors of few weights or mostly
        zeros.
    """
    _check(importance, live, density, config)
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(importance, np.float32)
    if not (np.isfinite(x).all() and (x >= 0).all()):
        raise ConfigError("importance must be finite and not negative (take magnitudes)")
    slices = x.shape[0]
    goal = wanted_count(x.reshape(-1)[:live], density) if density else 0
    tiles = Tiles(
        _row_starts(slices, config.tile_slices, slices_per_stream),
        config.tile_lanes, config.tiles, config.rank, live,
    )  # fmt: skip
    threads = threads or threads_default()
    with mapping(threads) as each:
        fit = Fit(_search_gains(x, seed), tiles, each, threads, seed)
        if goal in (0, live):
            fit.lane[:] = fit.beat[:] = int(goal > 0)
            return _chosen(x, fit, slices_per_stream)
        sizes = tile_sizes(tiles, x.shape)
        ends = np.cumsum(sizes) * (goal / live)
        cut = float(np.partition(fit.x.reshape(-1)[:live], live - goal)[live - goal])
        fit.factorize(cut, np.diff(np.rint(ends).astype(np.int64), prepend=0))
        plain = replace(fit)
        plain.lane[:], plain.beat[:], plain.counts[:] = fit.lane, fit.beat, fit.counts
        tried = []
        price = 0.5 * cut
        if local_search:
            price = fit_price(fit, sizes, goal / live, goal, tries)
            tried.append(_brought_near(x, fit, goal, price, exact, slices_per_stream))
        tried.append(_brought_near(x, plain, goal, 0.5 * cut, exact, slices_per_stream))
        allowed = 0 if exact else TOLERANCE * goal
        for attempt in range(_ATTEMPTS):  # of few tiles, some factors miss the number by a little
            if any(abs(choice.count - goal) <= allowed for choice in tried):
                break
            fit.ascend(price * (0.5 + attempt / _ATTEMPTS), 4)
            tried.append(_brought_near(x, fit, goal, price, exact, slices_per_stream))
    miss = max(allowed, min(abs(choice.count - goal) for choice in tried))
    best = max(
        (choice for choice in tried if abs(choice.count - goal) <= miss), key=lambda c: c.kept
    )
    if not is_met(best.count, goal):
        raise DensityError("lowrank", goal, best.count, live)
    return best


def _brought_near(
    x: np.ndarray, fit: Fit, goal: int, price: float, exact: bool, slices_per_stream: int
) -> LowrankChoice:
    """Bring the factors to the number of weights to keep, or as near as they come."""
    if abs(goal - fit.count) > (0 if exact else TOLERANCE * goal):
        fit.meet(goal, price)
    return _chosen(x, fit, slices_per_stream)


def _search_gains(x: np.ndarray, seed: int) -> np.ndarray:
    """Importance with mean 1, no two alike but zeros, which stay zeros."""
    noise = np.random.default_rng(seed).random(x.shape, np.float32)
    mean = float(x.mean(dtype=np.float64)) if x.size else 0.0
    if mean == 0.0:
        return np.zeros_like(x)
    return x / np.float32(mean) + np.float32(_DITHER) * noise * (x > 0)


def _chosen(x: np.ndarray, fit: Fit, slices_per_stream: int) -> LowrankChoice:
    mask = _product(fit.lane, fit.beat, fit.tiles, x.shape[1])
    count = int(np.count_nonzero(mask))
    flat = x.reshape(-1)[: fit.tiles.live]
    ideal = 0.0
    if count:
        largest = np.partition(flat, flat.size - count)[flat.size - count :]
        ideal = float(largest.sum(dtype=np.float64))
    kept = float(x[mask].sum(dtype=np.float64)) / ideal if ideal else 1.0
    # Copies: the fit goes on from here, and an earlier choice may turn out the best.
    return LowrankChoice(mask, fit.lane.copy(), fit.beat.copy(), slices_per_stream, kept)


def _product(lane: np.ndarray, beat: np.ndarray, tiles: Tiles, n_out: int) -> np.ndarray:
    mask = np.zeros((beat.shape[0], n_out), np.bool_)
    kernels.boolean_product(lane, beat, tiles.first, tiles.lanes, mask)
    mask.reshape(-1)[tiles.live :] = False
    return mask


def split(chosen: LowrankChoice, config: LowrankConfig) -> list[LowrankChoice]:
    """Cut a tensor into its streams, for :func:`pack`."""
    slices = chosen.mask.shape[0]
    span = chosen.slices_per_stream or max(1, slices)
    rows = -(-span // config.tile_slices)
    return [
        LowrankChoice(
            chosen.mask[begin : begin + span],
            chosen.lane[k * rows : (k + 1) * rows],
            chosen.beat[begin : begin + span],
            0,
            chosen.kept,
        )
        for k, begin in enumerate(range(0, slices, span))
    ]


def pack(encoded: LowrankChoice, count: int, config: LowrankConfig) -> bytes:
    """Write one memory stream of ``count`` weights.

    Raises
    ------
    CapacityError
        If there are 2**32 weights or more.
    """
    if count >= 1 << 32:
        raise CapacityError(f"index of {count} weights does not fit 32 bits: split the tensor")
    slices, rows = encoded.beat.shape[0], encoded.lane.shape[0]
    header = Header(config.kind, count, network_id(config), stream_bits(slices, config).words)
    chunks = np.zeros((config.chunks(slices), config.chunk_bits), np.uint8)
    if slices:
        head, span, share = config.preamble_chunks, config.tile_slices, config.share_bits
        strings = np.zeros((rows, span * share), np.uint8)
        strings[:, span * share - config.lane_bits :] = bits_of(encoded.lane, config.rank)
        shares = strings.reshape(rows, span, share)
        first = np.zeros((head * config.shares_per_chunk, share), np.uint8)
        first[-span:] = shares[0]
        width = config.shares_per_chunk * share
        chunks[:head, -width:] = first.reshape(head, width)
        chunks[head:, : config.beat_bits] = bits_of(encoded.beat, config.rank)
        later = (rows - 1) * span
        chunks[head : head + later, config.beat_bits :] = shares[1:].reshape(later, share)
    payload = np.packbits(chunks.reshape(-1), bitorder="little").tobytes()
    payload = payload.ljust(header.words * config.bus_bytes, b"\0")
    return frame_payload(header, payload, config.bus_bytes)


def unpack(data: bytes, count: int, config: LowrankConfig, where: str = "index") -> np.ndarray:
    """Read one memory stream as a mask, (slices, n_out) bool, False where there is no weight.

    Raises
    ------
    FormatError
        If the stream is truncated, damaged, or made for other parameters or another size.
    """
    header, payload = unframe_payload(data, config.bus_bytes, config.kind, where)
    if header.network != network_id(config):
        raise FormatError(
            f"{where}: network id must be {network_id(config):08x} for the parameters "
            f"{config.identity}, found {header.network:08x}"
        )
    if header.count != count:
        raise FormatError(f"{where}: index must hold {count} weights, found {header.count}")
    slices = -(-count // config.n_out)
    words = stream_bits(slices, config).words
    if header.words != words:
        raise FormatError(
            f"{where}: index of {count} weights must have {words} bus words, found {header.words}"
        )
    raw = np.unpackbits(np.frombuffer(payload, np.uint8), bitorder="little")
    used = config.chunks(slices) * config.chunk_bits
    chunks = raw[:used].reshape(-1, config.chunk_bits)
    if not slices:
        return np.zeros((0, config.n_out), np.bool_)
    head, span, share = config.preamble_chunks, config.tile_slices, config.share_bits
    rows = -(-slices // span)
    later = (rows - 1) * span
    pad = span * share - config.lane_bits
    first = chunks[:head, -config.shares_per_chunk * share :].reshape(-1, share)
    shares = np.concatenate([first[-span:], chunks[head : head + later, config.beat_bits :]])
    shares = shares.reshape(rows, span * share)
    unused: Sequence[np.ndarray] = (
        raw[used:],
        chunks[:head, : -config.shares_per_chunk * share],
        first[:-span],
        shares[:, :pad],
        chunks[head + later :, config.beat_bits :],
    )
    if any(part.any() for part in unused):
        raise FormatError(f"{where}: padding of the index must be zero")
    lane = sets_of(shares[:, pad:], config.rank)
    beat = sets_of(chunks[head:, : config.beat_bits], config.rank)
    first_slices = _row_starts(slices, span, 0)
    tiles = Tiles(first_slices, config.tile_lanes, config.tiles, config.rank, count)
    return _product(lane, beat, tiles, config.n_out)
