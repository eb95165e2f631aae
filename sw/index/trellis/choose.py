# SPDX-License-Identifier: Apache-2.0
"""Choice of the trellis index: a mask near the rate-distortion bound.

Every string of seed bits decodes to some mask. The encoder looks for the one whose kept weights
are worth most: a kept weight is worth its importance less a price, and the price is set so that
the wanted share of weights is kept.
"""

from dataclasses import dataclass, replace

import numpy as np
from xorloom.sw.base.errors import ConfigError, DensityError
from xorloom.sw.base.workers import mapping
from xorloom.sw.index.density import is_met, wanted_count
from xorloom.sw.spec.index_config import TrellisConfig

from .price import NEAR, SLOPE, PriceSearch, search_price, search_share
from .stream import TrellisStream, search_stream

__all__ = ["TrellisChoice", "check_importance", "choose", "minterms_for"]

_PROBE = (1 << 14, 1 << 17)
"""Least and most weights on which the price is fitted first: an eighth of the tensor's."""
_SMALL = 1 << 15
"""Weights up to which a tensor is encoded whole at every price."""
_BEND = 0.08
"""Relative change of the number of kept weights that the end of a stream may take upon itself."""
_CORRECTIONS = 4
"""Times that the ends of streams, or streams whole, are encoded anew to meet the number."""
_FIRST = 0.68
"""The first price, over the least importance of as many of the largest weights."""
_RUN = 32
"""Slices that a sample takes in a row."""
_TRIES = 12
"""Prices tried on a sample, or on a tensor no larger than one."""
_WHOLE_TRIES = 3
"""Prices tried on a larger tensor, unless the density is still missed."""
_ROUNDS = 2
"""Times that the classes are chosen anew."""
_MOST = 0.75
"""Share of the wanted weights that is enough where only zeros are left."""
_DITHER = 1 / 64
"""Spread that weights of equal importance get, relative to it: no price could part them."""
_WIDTHS = (1 / 64, 1 / 16, 1 / 4, 1.0, 1 / 32, 1 / 8, 1 / 2)
"""Relative differences of two prices, of which every weight has one: wide ones where few tell."""


@dataclass(frozen=True)
class TrellisChoice:
    """Chosen mask and the streams that hold it.

    Parameters
    ----------
    mask : (slices, n_out) bool
        False where there is no weight.
    streams : tuple of TrellisStream
    price : float
        Importance that a weight had to be worth.
    """

    mask: np.ndarray
    streams: tuple[TrellisStream, ...]
    price: float


def minterms_for(density: float, classes: int = 1) -> int:
    """Return the ``minterms`` that fit a density best.

    Raises
    ------
    ConfigError
        If no code has such a density.
    """
    least, most = 1 / 64, 15 / 32
    if not least <= density <= most:
        raise ConfigError(  # both as decimals that are whole
            f"density must be between {least:g} and {most:g} for the trellis index, not "
            f"{density} (the entropy and bitmap indexes take any)"
        )
    # Measured, see docs/decisions/index-codecs.md: a code a little denser than the mask; with
    # classes, the mean between the first two at low densities, the second at high ones.
    best = 33 * density if classes == 1 else 2.3 + 19 * density
    return min(15, max(1, round(best)))


def _spread(size: int, turn: int = 1) -> np.ndarray:
    """Return numbers in [0, 1), evenly spread over any run of weights by the golden ratio."""
    return np.arange(size) * (turn * 0.6180339887498949) % 1.0


def _part_ties(importance: np.ndarray, live: int, wanted: int) -> np.ndarray:
    """Spread equal importance a little where the price would fall on it; zeros stay zeros.

    ``wanted`` is at most the number of weights that are not zero.
    """
    flat = importance.reshape(-1)[:live]
    cut = np.partition(flat, live - wanted)[live - wanted]
    if np.count_nonzero(flat == cut) <= wanted // 20:
        return importance
    more = (_DITHER * float(cut) * _spread(importance.size)).astype(np.float32)
    return importance + more.reshape(importance.shape) * (importance > 0)


def _classes(density: np.ndarray, config: TrellisConfig) -> np.ndarray:
    """Return the classes of lanes that have these densities, (periods, n_out)."""
    levels = np.log2(np.array(config.densities))
    found = np.log2(np.maximum(density, 1e-4))
    return np.abs(found[..., None] - levels).argmin(axis=-1).astype(np.uint8)


def _lane_density(mask: np.ndarray, live: int, config: TrellisConfig) -> np.ndarray:
    """Return the share of kept weights of every lane in every period."""
    starts = np.arange(0, mask.shape[0], config.period)
    kept = np.add.reduceat(mask, starts, axis=0, dtype=np.int64)
    full, rest = divmod(live, config.n_out)
    length = np.full(config.n_out, full, np.int64) + (np.arange(config.n_out) < rest)
    there = np.clip(length - starts[:, None], 0, config.period)
    return kept / np.maximum(there, 1)


@dataclass
class _Search:
    """Search at work: a tensor's slices, its lanes' classes, and the best mask so far."""

    importance: np.ndarray
    live: int
    wanted: int
    config: TrellisConfig
    size: int
    threads: int | None
    classes: np.ndarray

    def __post_init__(self) -> None:
        self.streams: tuple[TrellisStream, ...] = ()
        self.mask: np.ndarray | None = None

    @property
    def found(self) -> int:
        """Weights that the best mask keeps."""
        return -1 if self.mask is None else int(np.count_nonzero(self.mask))

    def encode(self, price: float, worth: np.ndarray, share: float = 1.0) -> np.ndarray:
        """Encode all streams; keep them if no number of kept weights was nearer.

        Less than the whole ``share``: anew only the ends of the streams that are kept.
        """
        config, slices, streams = self.config, worth.shape[0], self.streams

        def one(first: int) -> tuple[TrellisStream, np.ndarray]:
            part = worth[first : first + self.size]
            rows = slice(first // config.period, -(-(first + len(part)) // config.period))
            own = max(0, min(part.size, self.live - first * config.n_out))
            begin = self.begin(len(part), share)
            before = streams[first // self.size] if begin else None
            return search_stream(part, own, price, config, self.classes[rows], before, begin)

        with mapping(self.threads) as each:
            done = each(one, range(0, slices, self.size))
        mask = np.concatenate([mask for _, mask in done])
        miss = abs(int(np.count_nonzero(mask)) - self.wanted)
        if self.mask is None or miss < abs(self.found - self.wanted):
            self.streams, self.mask = tuple(stream for stream, _ in done), mask
        return mask

    def begin(self, slices: int, share: float) -> int:
        """Return where the last ``share`` of a stream begins, and at least a window's steps."""
        begin = max(0, min(int(slices * (1 - share)), slices - self.config.window))
        return begin - begin % self.config.period if self.config.classes > 1 else begin

    def classify(self, mask: np.ndarray) -> None:
        """Choose the lanes' classes for a mask; what was found with others does not count."""
        self.classes = _classes(_lane_density(mask, self.live, self.config), self.config)
        self.mask = None

    def fit(self, before: PriceSearch | None = None) -> PriceSearch:
        """Fit the price on a sample."""
        share = self.wanted / self.live
        return _fit_price(self.importance, self.live, share, self.config, self.classes, before)

    def keep(self, price: float) -> int:
        """Return how many weights a price keeps."""
        return int(np.count_nonzero(self.encode(price, self.importance)))

    def settle(self, fit: PriceSearch) -> bool:
        """Encode at a fitted price, and correct the number of kept weights.

        A small miss is made up for by another price for the ends of the streams alone.

        Returns
        -------
        bool
            Whether the number is as near as a search would come.
        """
        price, share, slices = fit.price, 1.0, min(self.size, self.importance.shape[0])
        for _ in range(1 + _CORRECTIONS):
            found = int(np.count_nonzero(self.encode(price, self.importance, share)))
            if abs(found - self.wanted) <= NEAR * self.wanted:
                return True
            error = float(np.log(max(found, 0.5) / self.wanted))
            if share == 1:
                share = max(abs(error) / _BEND, 1 / 8)
                share = 1 - self.begin(slices, share) / slices  # in whole periods
                share = share if share <= 1 / 2 else 1.0
            price *= float(np.exp(-error / (SLOPE * share)))
        return False

    def part_jump(self, fit: PriceSearch, width: float, turn: int) -> None:
        """Come nearer where the number jumps at a price: part of the weights get a lower one."""
        low, high = fit.low / (1 + width / 2), fit.high * (1 + width / 2)
        place = _spread(self.importance.size, turn).reshape(self.importance.shape)
        discount = np.float32(high - low) * (self.importance > 0)

        def keep(share: float) -> int:
            worth = self.importance + discount * (place < share)
            return int(np.count_nonzero(self.encode(high, worth)))

        search_share(keep, self.wanted)


def choose(
    importance: np.ndarray,
    live: int,
    density: float,
    config: TrellisConfig,
    *,
    slices_per_stream: int = 0,
    threads: int | None = None,
) -> TrellisChoice:
    """Choose the mask that keeps most importance at the code's rate.

    Parameters
    ----------
    importance : (slices, n_out) float32, not negative
        What keeping a weight is worth: its magnitude, its square, or any saliency. A weight
        without importance gains nothing, but may be kept for the sake of others.
    live : int
        Weights that there are: the first so many places.
    density : float
        Share of weights to keep, see :func:`xorloom.sw.index.density.wanted_count`; met within
        about 0.3 %, at worst within 2 % or one weight. Where only zeros are left to keep, the mask
        may have up to a quarter less.
    config : TrellisConfig
    slices_per_stream : int
        Slices of all streams but the last; 0: one stream.
    threads : int, optional
        All available cores by default.

    Raises
    ------
    ConfigError
        If the importance does not fit.
    DensityError
        If no mask of the code comes near the density: tensors of few weights, or mostly zeros.
    """
    if not 0 < density < 1:
        raise ConfigError(f"density must be in (0, 1), not {density}")
    importance = check_importance(importance, live, config.n_out)
    slices = importance.shape[0]
    size = slices_per_stream or max(1, slices)
    if config.classes > 1 and size % config.period and size < slices:
        raise ConfigError(f"slices_per_stream {size} must be a multiple of period {config.period}")
    flat = importance.reshape(-1)[:live]
    wanted = wanted_count(flat, density)
    if not wanted:
        streams = tuple(
            _empty(min(size, slices - first), config) for first in range(0, slices, size)
        )
        return TrellisChoice(np.zeros(importance.shape, np.bool_), streams, 0.0)
    importance = _part_ties(importance, live, wanted)
    classes = np.zeros((0, config.n_out), np.uint8)
    search = _Search(importance, live, wanted, config, size, threads, classes)
    if config.classes > 1:
        flat = importance.reshape(-1)[:live]
        search.classify(importance >= np.partition(flat, live - wanted)[live - wanted])
    fit = search.fit()
    for _ in range(0 if config.classes == 1 else _ROUNDS):
        search.classify(search.encode(fit.price, importance))
        fit = search.fit(fit)
    if live <= _SMALL or not search.settle(fit):
        tries = _TRIES if live <= _SMALL else _WHOLE_TRIES
        fit = search_price(search.keep, wanted, fit.price, fit.slope, tries)
    for turn, width in enumerate(_WIDTHS, 1):
        if is_met(search.found, wanted) or not fit.jumps:
            break
        search.part_jump(fit, width, turn)
    # More would be zeros, which must not gain: then the nearest number is what there is.
    exhausted = fit.low == 0 and np.count_nonzero(flat) < live
    if not (is_met(search.found, wanted) or (exhausted and search.found >= _MOST * wanted)):
        raise DensityError("trellis", wanted, search.found, live)
    assert search.mask is not None
    return TrellisChoice(search.mask, search.streams, fit.price)


def check_importance(importance: np.ndarray, live: int, n_out: int) -> np.ndarray:
    """Return slices of importance as float32.

    Raises
    ------
    ConfigError
        If shape or values do not fit.
    """
    if importance.ndim != 2 or importance.shape[1] != n_out or live > importance.size:
        raise ConfigError(
            f"importance must be (slices, {n_out}) with at least {live} places, "
            f"not {importance.shape}"
        )
    importance = np.ascontiguousarray(importance, np.float32)
    if importance.size and not (np.isfinite(importance).all() and importance.min() >= 0):
        raise ConfigError("importance must be finite and not negative (take magnitudes)")
    return importance


def _empty(slices: int, config: TrellisConfig) -> TrellisStream:
    """Return the stream of all-zero seeds, whose masks are empty: gates of zeros are 0."""
    periods = -(-slices // config.period) if config.classes > 1 else 0
    classes = np.full((periods, config.n_out), config.classes - 1, np.uint8)
    return TrellisStream(np.zeros(-(-slices * config.n_in // 64) + 2, np.uint64), slices, classes)


def _fit_price(
    importance: np.ndarray,
    live: int,
    density: float,
    config: TrellisConfig,
    classes: np.ndarray,
    before: PriceSearch | None = None,
) -> PriceSearch:
    """Fit the price on a sample: runs of slices, or all slices if they are few."""
    slices = live // config.n_out  # whole ones
    probed = min(max(live // 8, _PROBE[0]), _PROBE[1])
    run, count = _RUN, max(1, probed // (_RUN * config.n_out))
    if slices > run * count:
        starts = np.linspace(0, slices - run, count).astype(np.int64)
        if config.classes > 1:  # a run has the classes of one period
            run = min(run, config.period)
            starts -= np.maximum(0, starts % config.period + run - config.period)
            classes = classes[starts // config.period]
        sample = np.concatenate([importance[s : s + run] for s in starts])
        probe, own = replace(config, period=run), sample.size
    else:
        sample, probe, own = importance, config, live
    flat = sample.reshape(-1)[:own]
    wanted = wanted_count(flat, density)
    if before is not None:
        price, slope = before.price, before.slope
    else:
        seen = flat if wanted else importance.reshape(-1)[:live]  # a sample may be all zeros
        above = wanted or wanted_count(seen, density)
        price = _FIRST * float(np.partition(seen, seen.size - above)[seen.size - above])
        slope = SLOPE / price
    if not wanted or (config.classes == 1 and sample is importance):
        return PriceSearch(price, 0, slope)  # all will be searched anyway

    def keep(price: float) -> int:
        return int(np.count_nonzero(search_stream(sample, own, price, probe, classes)[1]))

    near = NEAR if sample is importance else max(NEAR, wanted**-0.5)  # a sample tells no more
    return search_price(keep, wanted, price, slope, _TRIES, near)
