# SPDX-License-Identifier: Apache-2.0
"""Codecs of other packages, one thread, each with the data in the form that suits it best.

``values`` are int8 with zeros; *packed* is the mask, a bit a weight, and the codes of kept weights
one after the other, each string a frame of its own: one frame for both is up to 5 % larger.
"""

from functools import lru_cache, partial
from typing import Any

import numpy as np
from xorloom.sw.bits.gf2 import pack_bool

from .kernels import gather, spread
from .sample import Clock, Sample, Stored, levels

__all__ = ["encode_blosc", "encode_mlw", "encode_rans", "encode_zstd"]

_COUNT_BITS = 32
"""Of a number that the decoder must know: a symbol's count, the length of a string."""
_CLASSES = 16
"""Classes of rows, or of columns, that have a model each."""


def encode_mlw(sample: Sample, clock: Clock) -> Stored:
    """Store int8 values with the codec of Arm's Ethos-U, which takes and makes lists.

    Lists are made before the clock runs.
    """
    from ethosu import mlw_codec

    values = sample.values.reshape(-1).tolist()
    with clock:
        data = mlw_codec.encode(values)
    return Stored(8 * len(data), partial(mlw_codec.decode, data), sample.values, sample.mask)


@lru_cache
def _zstd(level: int) -> tuple[Any, Any]:
    """Return how to compress and to decompress bytes-like data with Zstandard."""
    import zstandard

    return zstandard.ZstdCompressor(level=level).compress, zstandard.ZstdDecompressor().decompress


@lru_cache
def _blosc(codec: str, level: int, filters: str) -> tuple[Any, Any]:
    """Return how to compress and to decompress bytes-like data with Blosc."""
    import blosc2

    compress = partial(
        blosc2.compress2,
        codec=blosc2.Codec[codec],
        clevel=level,
        filters=[blosc2.Filter[filters]],
        typesize=1,
        nthreads=1,
    )
    return compress, partial(blosc2.decompress2, nthreads=1)


def encode_zstd(level: int, packed: bool, sample: Sample, clock: Clock) -> Stored:
    """Store values, or the packed form, with Zstandard."""
    return (_packed if packed else _plain)(*_zstd(level), sample, clock)


def encode_blosc(codec: str, level: int, packed: bool, sample: Sample, clock: Clock) -> Stored:
    """Store values with their bits shuffled, or the packed form as it is, with Blosc."""
    found = _blosc(codec, level, "NOFILTER" if packed else "BITSHUFFLE")
    return (_packed if packed else _plain)(*found, sample, clock)


def _plain(compress: Any, decompress: Any, sample: Sample, clock: Clock) -> Stored:
    with clock:
        data = compress(sample.values)

    def decode() -> np.ndarray:
        return np.frombuffer(decompress(data), np.int8)

    return Stored(8 * len(data), decode, sample.values, sample.mask)


def _packed(compress: Any, decompress: Any, sample: Sample, clock: Clock) -> Stored:
    planes, size = sample.planes, sample.mask.size
    with clock:
        words = pack_bool(sample.mask, spare_words=0)
        kept = int(np.bitwise_count(words).sum()) * planes
        fields = np.zeros(kept // 64 + 2, np.uint64)
        gather(words, sample.codes.reshape(-1), planes, fields)
        frames = compress(words.tobytes()), compress(fields.tobytes()[: -(-kept // 8)])

    def decode() -> np.ndarray:
        mask = np.frombuffer(decompress(frames[0]), np.uint64)
        data = decompress(frames[1])
        fields = np.zeros(len(data) // 8 + 2, np.uint64)
        fields.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
        values = np.zeros(size, np.int8)
        spread(mask, fields, planes, levels(planes), values)
        return values

    bits = 8 * sum(map(len, frames)) + _COUNT_BITS
    return Stored(bits, decode, sample.values, sample.mask)


def _model(counts: np.ndarray) -> Any:
    """Return a static model of symbols that occur so often."""
    from constriction import stream

    return stream.model.Categorical(counts / max(1, counts.sum()), perfect=False, lazy=False)


def _entropy(share: np.ndarray) -> np.ndarray:
    """Return the entropy of masks of these densities, bits a weight."""
    return -sum(p * np.log2(p, out=np.zeros_like(p), where=p > 0) for p in (share, 1 - share))


def _classes(mask: np.ndarray) -> tuple[int, list[np.ndarray]]:
    """Return the axis whose lines tell more, and the lines of each class of like density."""
    shares = [mask.mean(axis=1 - axis) for axis in (0, 1)]
    bits = [_entropy(share).mean() for share in shares]
    axis = int(bits[1] < bits[0])
    ranked = np.argsort(shares[axis], kind="stable")
    return axis, [np.sort(part) for part in np.array_split(ranked, min(_CLASSES, ranked.size))]


def encode_rans(classes: bool, sample: Sample, clock: Clock) -> Stored:
    """Store values with rANS, by their frequencies in the tensor, or in classes of its lines.

    With ``classes``, rows or columns, whichever tell more, are put into classes of like density.
    """
    from constriction import stream

    largest, shape = 1 << (sample.planes - 1), sample.values.shape
    alphabet = 2 * largest + 1
    with clock:
        symbols = sample.values.astype(np.int32)
        symbols += largest
        axis, lines = _classes(sample.mask) if classes else (0, [np.arange(shape[0])])
        runs = [symbols]
        if classes:
            runs = [symbols.take(some, axis) for some in lines]
        counts = [np.bincount(run.reshape(-1), minlength=alphabet) for run in runs]
        coder = stream.stack.AnsCoder()
        for run, count in zip(reversed(runs), reversed(counts), strict=True):
            coder.encode_reverse(run.reshape(-1), _model(count))
        words = coder.get_compressed()

    def decode() -> np.ndarray:
        coder, values = stream.stack.AnsCoder(words), np.empty(shape, np.int8)
        for some, count in zip(lines, counts, strict=True):
            size = values.size // shape[axis] * some.size
            part = coder.decode(_model(count), size)
            part -= largest
            if axis:
                values[:, some] = part.reshape(-1, some.size)
            else:
                values[some] = part.reshape(some.size, -1)
        return values

    side = len(counts) * alphabet * _COUNT_BITS
    if classes:
        side += 1 + shape[axis] * (_CLASSES - 1).bit_length()
    return Stored(32 * words.size + side, decode, sample.values, sample.mask)
