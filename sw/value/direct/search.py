# SPDX-License-Identifier: Apache-2.0
"""Search of the direct codec: the seeds of a whole stream in parallel, or of column after column.

Any seeds are valid and mean some codes; so what a search leaves out, as where parts of a stream
join, costs a little error and never more.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from xorloom.sw.base.workers import mapping
from xorloom.sw.bits.jit import njit
from xorloom.sw.spec.direct import DirectConfig

from .costs import CODES
from .decoding import code_tables
from .viterbi import VECTORS, Code, Work, search_run

__all__ = [
    "ColumnSearch",
    "code_of",
    "error_scale",
    "metric_dtype",
    "search_stream",
    "seed_words",
    "work_of",
]

_PART = 1 << 16
"""Weights, at least, of the parts that a stream is searched in."""
_OVERLAP = 24
"""Windows by which a part's search begins before it and goes on behind it."""
_MARGIN = 6
"""Bits of a window beyond a shift: new windows without their newest bits fill a vector."""
_GROUP_BITS = 6
_STEPS = 1024
"""Steps between two cuts of the paths; a quarter of them is their depth."""
_BLOCK = 64
"""Groups whose costs are worked out at once."""
_BYTE_RATES = (0.5, 2.0)
"""Bits per weight, from and to, at which metrics are bytes."""
_WORD_SCALE = 64.0
_NONE = np.zeros(0, np.float32)


def metric_dtype(rate: float) -> type[np.unsignedinteger]:
    """Return the kind of metrics that a rate asks for.

    Measured, see docs/decisions/direct-codec.md: bytes are faster. Low rates need finer units than
    they have; high rates must reach far, as few windows have the code of a large weight.
    """
    return np.uint8 if _BYTE_RATES[0] <= rate <= _BYTE_RATES[1] else np.uint16


def error_scale(rate: float) -> float:
    """Return the units that metrics count for the error that no code can go below.

    More units are finer, but reach less far.
    """
    if metric_dtype(rate) is np.uint16:
        return _WORD_SCALE
    return float(6 * 2 ** (-0.6 * max(0.0, rate - 1)))


def code_of(config: DirectConfig) -> Code:
    """Return a network as the search looks it up."""
    return _code_of(
        replace(config, n_in=config.rate.numerator, n_out=config.period * config.planes)
    )


@lru_cache(maxsize=8)
def _code_of(config: DirectConfig) -> Code:
    shifts, planes = config.shifts, config.planes
    firsts: list[int] = []
    for phase, shift in enumerate(shifts):
        if not firsts or shift or (phase + 1 - firsts[-1]) * planes > _GROUP_BITS:
            firsts.append(phase)
    window = max(config.window, max(shifts) + _MARGIN)
    values = np.arange(1 << window)
    mirrored = np.zeros_like(values)  # here the newest bit is the lowest
    for bit in range(config.window):
        mirrored |= (values >> bit & 1) << (config.window - 1 - bit)
    tables = code_tables(config)[:, mirrored]
    codes = np.zeros((len(firsts), values.size), np.uint8)
    for group, (first, end) in enumerate(zip(firsts, [*firsts[1:], len(shifts)], strict=True)):
        for phase in range(first, end):
            codes[group] |= tables[phase] << np.uint8((phase - first) * planes)
    return Code(
        np.array([shifts[first] for first in firsts]),
        np.array([*firsts, len(shifts)]),
        codes.reshape(-1),
        planes,
        config.rate.numerator,
        config.period,
        window,
    )


def work_of(code: Code, steps: int = _STEPS, dtype: type | None = None) -> Work:
    """Return work space for a search, the metrics' kind that of the code's rate."""
    windows = 1 << code.window
    dtype = dtype or metric_dtype(code.seed_bits / code.period)
    return Work(
        np.zeros(2 * windows, dtype),
        np.zeros((2, windows), np.int32),
        np.zeros(steps * (windows - (windows >> int(code.shifts.max()))) // 8, np.uint8),
        np.zeros(steps, np.int64),
        np.zeros(2 * CODES, np.int32),
        np.zeros(_BLOCK * CODES, dtype),
    )


def seed_words(weights: int, code: Code) -> int:
    """Return the words that hold the seed bits of so many weights, and two more."""
    return -(-weights * code.seed_bits // (code.period * 64)) + 2


def search_stream(
    x: np.ndarray,
    importance: np.ndarray | None,
    levels: np.ndarray,
    per_unit: float,
    config: DirectConfig,
    *,
    threads: int | None = None,
) -> np.ndarray:
    """Return the seeds of a stream, the same for any number of threads.

    Parameters
    ----------
    x : (weights,) float32
        In the stream's own order, in units of the levels.
    importance : (weights,) float32, optional
        What a squared error counts.
    levels : (2**planes,) float32
    per_unit : float
        Units of the metrics in a squared error of 1: about :func:`error_scale` for the least error
        that can be.
    config : DirectConfig
    threads : int, optional
        All available cores by default.

    Returns
    -------
    uint64 array, packed seed bits
    """
    code = code_of(config)
    worth = _NONE if importance is None else importance
    seeds = np.zeros(seed_words(x.size, code), np.uint64)
    grain = 64 * code.period  # whole words of seed bits
    part = -(-_PART // grain) * grain
    overlap = -(-_OVERLAP * code.window * code.period // (code.seed_bits * grain)) * grain

    def one(first: int) -> None:
        begin, end = max(0, first - overlap), min(x.size, first + part)
        own = slice(begin, min(x.size, end + overlap))
        bits = (first - begin) // code.period * code.seed_bits
        limit = -(-(end - begin) * code.seed_bits // code.period)
        found = np.zeros(seed_words(own.stop - begin, code), np.uint64)
        search_run(
            x[own],
            worth[own],
            levels,
            np.float32(per_unit),
            code,
            work_of(code),
            VECTORS,
            0,
            -1 if begin else 0,
            bits,
            limit,
            found,
        )
        at = first // code.period * code.seed_bits // 64
        count = -(-limit // 64) - bits // 64
        seeds[at : at + count] = found[bits // 64 : bits // 64 + count]

    with mapping(threads) as each:
        each(one, range(0, x.size, part))
    return seeds


@dataclass
class ColumnSearch:
    """Search that goes on from column to column: what is decided stays.

    Parameters
    ----------
    config : DirectConfig
    weights : int
        Of the whole stream.
    levels : (2**planes,) float32
    per_unit : float
        As for :func:`search_stream`.

    Attributes
    ----------
    seeds : uint64 array
        Packed seed bits of all columns so far.
    done : int
        Weights so far.
    """

    config: DirectConfig
    weights: int
    levels: np.ndarray
    per_unit: float
    seeds: np.ndarray = field(init=False)
    done: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._code = code_of(self.config)
        self._work = work_of(self._code)
        self.seeds = np.zeros(seed_words(self.weights, self._code), np.uint64)
        self._window = 0

    def step(self, column: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
        """Return the codes of the next column, (rows,) uint8.

        Parameters
        ----------
        column : (rows,) float32
            In units of the levels.
        importance : (rows,) float32, optional
            What a squared error counts.
        """
        codes = np.empty(column.size, np.uint8)
        self._window = _search_column(
            column,
            _NONE if importance is None else importance,
            self.levels,
            np.float32(self.per_unit),
            self._code,
            self._work,
            VECTORS,
            self.done,
            self._window,
            self.seeds,
            codes,
        )
        self.done += column.size
        return codes


@njit(nogil=True, cache=True)
def _search_column(
    x: np.ndarray,
    importance: np.ndarray,
    levels: np.ndarray,
    per_unit: np.float32,
    code: Code,
    work: Work,
    vectors: bool,
    first: int,
    state: int,
    seeds: np.ndarray,
    codes: np.ndarray,
) -> int:
    """Search a run of weights that begins in window ``state``; return the one that it ends in."""
    limit = 64 * seeds.size
    end = search_run(
        x, importance, levels, per_unit, code, work, vectors, first, state, 0, limit, seeds
    )
    size = 1 << code.window
    phase = first % code.period
    at = first // code.period * code.seed_bits + -(-phase * code.seed_bits // code.period)
    group = int(np.searchsorted(code.firsts, phase, side="right")) - 1
    for i in range(x.size):
        begin = code.firsts[group]
        for _ in range(code.shifts[group] if phase == begin else 0):
            bit = int(seeds[at >> 6] >> np.uint64(at & 63) & np.uint64(1))
            state, at = (state << 1 | bit) & (size - 1), at + 1
        code_bits = np.int64(code.codes[group * size + state]) >> (code.planes * (phase - begin))
        codes[i] = code_bits & (levels.size - 1)
        phase += 1
        if phase == code.firsts[group + 1]:
            group += 1
        if phase == code.period:
            phase, group = 0, 0
    return end
