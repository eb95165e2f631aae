# SPDX-License-Identifier: Apache-2.0
"""Measurement: sizes and speeds of xorloom and of its peers, on the same tensors, in one run."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from xorloom.sim.bench.rate.sources import Source, source
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.extras import PACKAGES, require
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.bits.gf2 import pack_bool
from xorloom.sw.index.rate_distortion import kept_share
from xorloom.sw.tensors.prune import check_sparsity

from .own import encode_chosen, encode_given
from .packages import encode_blosc, encode_mlw, encode_rans, encode_zstd
from .sample import Clock, Sample, Stored, check_planes

__all__ = ["METHODS", "SOURCES", "Method", "check_methods", "peer_rows"]

SOURCES = ("gaussian", "minilm")


@dataclass(frozen=True)
class Method:
    """Method of storing a sample.

    Parameters
    ----------
    module : str
        Of the package that it takes; ``xorloom`` for ours.
    encode : callable
        Stores a sample, with the clock running for what is its work.
    """

    module: str
    encode: Callable[[Sample, Clock], Stored]

    @property
    def package(self) -> str:
        """The package and its version."""
        name = PACKAGES.get(self.module, self.module)
        return f"{name} {version(name)}"


METHODS = {
    "xorloom": Method("xorloom", partial(encode_given, "auto")),
    "xorloom-fixed-order": Method("xorloom", partial(encode_given, "skewed")),
    "xorloom-trellis-14": Method("xorloom", partial(encode_chosen, 14)),
    "xorloom-trellis-10": Method("xorloom", partial(encode_chosen, 10)),
    "mlw": Method("ethosu", encode_mlw),
    "rans": Method("constriction", partial(encode_rans, False)),
    "rans-classes": Method("constriction", partial(encode_rans, True)),
    "zstd-3": Method("zstandard", partial(encode_zstd, 3, False)),
    "zstd-19": Method("zstandard", partial(encode_zstd, 19, False)),
    "zstd-3-packed": Method("zstandard", partial(encode_zstd, 3, True)),
    "zstd-19-packed": Method("zstandard", partial(encode_zstd, 19, True)),
    "blosc2-lz4": Method("blosc2", partial(encode_blosc, "LZ4", 5, False)),
    "blosc2-zstd-9": Method("blosc2", partial(encode_blosc, "ZSTD", 9, False)),
    "blosc2-zstd-9-packed": Method("blosc2", partial(encode_blosc, "ZSTD", 9, True)),
}
"""What ``bench peers`` compares: *packed* is the mask and the codes of kept weights as bits, the
rest of Zstandard and Blosc is of int8 values; ``trellis`` chooses the mask itself."""


def check_methods(names: Sequence[str]) -> None:
    """Check names of methods, and that their packages are there.

    Raises
    ------
    ConfigError
        If one is unknown.
    ToolError
        If a package is missing; names the extra that has it.
    """
    for name in names:
        if name not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, not {name!r}")
    for module in dict.fromkeys(METHODS[name].module for name in names):
        if module != "xorloom":
            require(module)


@dataclass
class _Tally:
    """Seconds of every run of a method, and what is the same in all of them."""

    encode: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)
    planes: list[float] = field(default_factory=list)
    bits: int = 0
    kept: float = 0.0
    lossless: bool = True


def peer_rows(
    sources: Sequence[str],
    sparsities: Sequence[float],
    planes: Sequence[int],
    methods: Sequence[str],
    weights: int,
    repeats: int,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Measure methods on all sources, sparsities and numbers of planes: a row each.

    Every tensor is stored on its own. All methods take a turn, then all the next, so that load of
    the machine meets them alike; the first turn compiles and does not count. Speeds are medians of
    CPU time: ``encode`` from arrays to what is stored, ``decode`` back to int8 values, ``planes``
    to packed bits (ours). ``bits_per_weight`` has no scales, which are the same with all;
    ``entropy`` is the zero-order entropy of mask and codes, tensor by tensor; ``kept`` the share
    of the magnitude that as many of the largest weights have; ``lossless``: every decoded value is
    the one that was stored.

    Parameters
    ----------
    sources : sequence of str
        Of :data:`SOURCES`.
    sparsities : sequence of float
    planes : sequence of int
        Bits of a kept weight, 1 to 7.
    methods : sequence of str
        Of :data:`METHODS`.
    weights : int
        Of the Gaussian matrix.
    repeats : int

    Raises
    ------
    ConfigError
        If an argument is out of range.
    ToolError
        If a package is missing.
    """
    for name in sources:
        if name not in SOURCES:
            raise ConfigError(f"source must be one of {', '.join(SOURCES)}, not {name!r}")
    check_methods(methods)
    cases = [(check_sparsity(s), check_planes(q)) for s in sparsities for q in planes]
    rows = []
    for name in sources:
        found = source(name, weights, False)
        for sparsity, q in cases:
            rows += _case(found, sparsity, q, methods, repeats, progress)
    return rows


def _case(
    found: Source,
    sparsity: float,
    planes: int,
    methods: Sequence[str],
    repeats: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    samples = [
        Sample.of(tensor, sparsity, planes, found.scale) for tensor in found.tensors.values()
    ]
    tallies = {name: _Tally() for name in methods}
    for turn in range(repeats + 1):
        for name, tally in tallies.items():
            _turn(METHODS[name], samples, tally, first=turn == 0)
            progress(found.name, name)
    head = {"source": found.name, "sparsity": sparsity, "planes": planes}
    facts = {
        "weights": found.weights,
        "tensors": len(samples),
        "entropy": sum(sample.entropy_bits for sample in samples) / found.weights,
    }
    return [
        head | {"method": name, "package": METHODS[name].package} | facts | _row(tally, found)
        for name, tally in tallies.items()
    ]


def _turn(method: Method, samples: Sequence[Sample], tally: _Tally, *, first: bool) -> None:
    """Store all samples once, and get them back."""
    encode, decode, planes = Clock(), Clock(), Clock()
    for sample in samples:
        stored = method.encode(sample, encode)
        with decode:
            values = stored.decode()
        tally.lossless &= _same_values(values, stored)
        if stored.decode_planes is not None:
            with planes:
                found = stored.decode_planes()
            tally.lossless &= _same_planes(found, stored, sample.planes)
        if first:
            tally.bits += stored.bits
            tally.kept += kept_share(sample.weights, stored.mask).magnitude * sample.mask.size
    if not first:
        tally.encode.append(encode.seconds)
        tally.decode.append(decode.seconds)
        tally.planes.append(planes.seconds)


def _same_values(values: Any, stored: Stored) -> bool:
    found = np.asarray(values, np.int8).reshape(-1)
    return np.array_equal(found, stored.values.reshape(-1))


def _same_planes(found: tuple[np.ndarray, np.ndarray], stored: Stored, planes: int) -> bool:
    """Tell whether packed mask and planes are those of the values."""
    values, mask = stored.values.reshape(-1), stored.mask.reshape(-1)
    magnitudes = np.abs(values) - mask
    bits = [magnitudes >> b & 1 for b in range(planes - 1)] + [values > 0]
    wanted = np.stack([pack_bool(plane, 0) for plane in bits])
    return np.array_equal(found[0], pack_bool(mask, 0)) and np.array_equal(found[1], wanted)


def _row(tally: _Tally, found: Source) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kept": tally.kept / found.weights,
        "bits_per_weight": tally.bits / found.weights,
    }
    for what in ("encode", "decode", "planes"):
        seconds = getattr(tally, what)
        measured = any(seconds)
        key = f"{what}_mweights_per_s"
        row[key] = found.weights / 1e6 / statistics.median(seconds) if measured else None
        row[f"{key}_min"] = found.weights / 1e6 / max(seconds) if measured else None
        row[f"{key}_max"] = found.weights / 1e6 / min(seconds) if measured else None
    return row | {"lossless": tally.lossless}
