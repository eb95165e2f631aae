# SPDX-License-Identifier: Apache-2.0
"""Index benchmarks: kept weights against rate, whole cases, coding speed."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sim.datasets import SEED, large_matrices
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.host import threads_default
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.index.choice import index_config
from xorloom.sw.index.lowrank import codec as index_lowrank
from xorloom.sw.index.plane import choose_index, decode_index, encode_index
from xorloom.sw.index.rate_distortion import kept_share, rate_bound, share_bound
from xorloom.sw.index.trellis import stream as trellis_stream
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import INDEX, read_container
from xorloom.sw.model.metrics import TensorBits, loss_row, mean_error
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.model.verify import verify_tensor
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import BitmapConfig, IndexConfig, LowrankConfig, TrellisConfig
from xorloom.sw.tensors.checkpoint import ModelTensor, from_arrays
from xorloom.sw.tensors.loss import relative_error, share_of_dense_bound
from xorloom.sw.tensors.orders import ORDERS, beats, tensor_of
from xorloom.sw.tensors.prune import prune_tensor
from xorloom.sw.tensors.quantize import Quantizer, quantize
from xorloom.sw.value.plane import encode_value
from xorloom.sw.value.search import window_for

__all__ = ["CASES", "CODECS", "index_rows", "matrices", "speed_rows", "total_rows"]

_N_OUT = 512
CODECS = ("bitmap", "entropy", "heuristic", "lowrank", "trellis", "classes", "hashed")
"""What ``bench index`` compares: ``heuristic`` is low-rank without local search, ``classes`` the
trellis with four density classes."""
_ORDERS = {
    "heuristic": [order for order in ORDERS if not order.startswith("skewed")],
    "lowrank": [order for order in ORDERS if not order.startswith("skewed")],
    "trellis": ["skewed", "skewed-column"],
    "hashed": ["skewed"],
    "classes": ["strided", "strided-column", "skewed", "skewed-column"],
}
"""Weight orders of which the one that keeps most is taken."""
CASES: dict[str, tuple[tuple[int, int], ...]] = {
    "alexnet-fc": ((4096, 9216), (4096, 4096)),
}
"""Shapes of named cases, outputs by inputs; their weights are i.i.d. Gaussian."""


def matrices(model: Path) -> dict[str, np.ndarray]:
    """Return the weights of MiniLM's large encoder matrices, by name."""
    return {name: tensor.weights() for name, tensor in large_matrices(model).items()}


@dataclass(frozen=True)
class _Try:
    """Mask that an index codec chose or took, and its streams."""

    mask: np.ndarray
    streams: bytes
    order: str


def _config(codec: str, rate: float, density: float, window: int) -> IndexConfig:
    if codec in ("heuristic", "lowrank"):
        return LowrankConfig(n_out=_N_OUT)
    name = "trellis" if codec == "classes" else codec
    return index_config(
        name,
        WindowConfig(n_out=_N_OUT),
        1,
        density=density,
        rate=rate if name == "trellis" else None,
        window=window,
        classes=4 if codec == "classes" else 1,
    )


def _encode(codec: str, weights: np.ndarray, density: float, config: IndexConfig) -> _Try:
    """Encode in every weight order of the codec; return the mask that keeps most."""
    if not config.chooses_mask:
        mask = prune_tensor(weights, 1 - density)
        streams = encode_index(mask, config, "row", 0).streams
        if (decode_index(streams, mask.shape, config, "row", 0, codec) != mask).any():
            raise AssertionError(f"{codec} is not lossless")
        return _Try(mask, streams, "row")
    importance = np.abs(weights)
    best: tuple[float, _Try] | None = None
    for order in _ORDERS[codec] if weights.ndim > 1 else ["row"]:
        if codec == "heuristic" and isinstance(config, LowrankConfig):
            mask, streams = _heuristic(importance, density, config, order)
        else:
            chosen = choose_index(importance, density, config, order, 0, threads=1)
            mask, streams = chosen.mask, chosen.streams
        if (decode_index(streams, mask.shape, config, order, 0, codec) != mask).any():
            raise AssertionError(f"{codec} is not lossless")
        kept = kept_share(weights, mask).magnitude
        if best is None or kept > best[0]:
            best = (kept, _Try(mask, streams, order))
    assert best is not None
    return best[1]


def _heuristic(
    importance: np.ndarray, density: float, config: LowrankConfig, order: str
) -> tuple[np.ndarray, bytes]:
    slices = beats(importance.astype(np.float32), order, config.n_out)
    chosen = index_lowrank.choose(
        slices, importance.size, density, config, local_search=False, threads=1
    )
    streams = index_lowrank.pack(chosen, importance.size, config)
    return tensor_of(chosen.mask, order, importance.shape), streams


def index_rows(
    tensors: Mapping[str, np.ndarray],
    title: str,
    codecs: Sequence[str],
    densities: Sequence[float],
    rate: float,
    windows: Sequence[int],
    *,
    area: bool = True,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Measure what index codecs keep, one row per codec and density: means over the tensors.

    ``rate`` is all index bits, headers included; ``kept`` and ``energy`` are shares of what as
    many of the largest weights have; ``kept_bound`` is the bound on ``kept`` at that density and
    rate, ``efficiency`` the rate that the bound needs for ``kept`` over the rate (both for weights
    without memory); ``bits_per_weight`` is index and one-bit value plane, both streams whole;
    ``error`` is the relative squared error of those values, ``share_of_dense_bound`` is of the bits
    per weight with the scales (float16, one per row);
    ``mweights_per_s`` is all of the encoding on one thread, orders tried and checks included.

    Parameters
    ----------
    tensors : mapping of name to float array
    title : str
    codecs : sequence of str
        Of :data:`CODECS`.
    densities : sequence of float
    rate : float
        Index bits per weight of the trellis; the low-rank index has its default tile, 0.16 bits.
    windows : sequence of int
        Of the trellis.
    """
    rows = []
    for density in densities:
        for codec in codecs:
            for window in windows if codec in ("trellis", "classes") else [0]:
                config = _config(codec, rate, density, window or TrellisConfig.window)
                run = partial(_one, codec, density, config)
                parts = []
                with ThreadPoolExecutor(threads_default()) as pool:
                    for name, part in zip(tensors, pool.map(run, tensors.values()), strict=True):
                        parts.append(part)
                        progress(codec, name)
                mean = {
                    key: float(np.mean([part[key] for part in parts]))
                    for key in parts[0]
                    if key != "seconds"
                }
                shape = {"window": window, "n_in": getattr(config, "n_in", 0)}
                head = {"codec": codec, "tensor": title, "tensors": len(parts)}
                speed = sum(w.size for w in tensors.values()) / 1e6
                speed /= sum(part["seconds"] for part in parts)
                rows.append(head | shape | mean | {"mweights_per_s": speed})
                if area:
                    rows[-1]["lut4_per_bit"] = _lut4_per_bit(config)
    return rows


def _one(codec: str, density: float, config: IndexConfig, weights: np.ndarray) -> dict[str, float]:
    start = time.perf_counter()
    found = _encode(codec, weights, density, config)
    seconds = time.perf_counter() - start
    kept = kept_share(weights, found.mask)
    rate = 8 * len(found.streams) / weights.size
    magnitude = np.abs(weights)
    how = Quantizer(scale="row" if weights.ndim > 1 else "tensor")
    quantized = quantize(weights, found.mask, how, fixed_mask=True)
    value = window_for(density, WindowConfig(n_out=_N_OUT))
    data, _, _ = encode_value(found.mask, quantized.codes, 1, value, "auto")
    bits = rate + 8 * len(data) / weights.size
    error = relative_error(weights, quantized, how)
    spent = bits + how.scale_bits(weights.shape) / weights.size
    chosen = config.chooses_mask
    bound = share_bound(magnitude, kept.density, rate) if chosen else 1.0
    needed = rate_bound(magnitude, kept.density, kept.magnitude) if chosen else rate
    return {
        "density": kept.density,
        "rate": rate,
        "kept": kept.magnitude,
        "kept_bound": bound,
        "energy": kept.energy,
        "efficiency": needed / rate,
        "bits_per_weight": bits,
        "error": error,
        "share_of_dense_bound": share_of_dense_bound(error, spent),
        "seconds": seconds,
    }


@lru_cache(maxsize=16)
def _lut4_per_bit(config: IndexConfig) -> float:
    """ECP5 LUT4s of a codec's decoder core per mask bit; a bitmap needs none."""
    from xorloom.hw.flow.export import component_verilog
    from xorloom.hw.flow.synth import synthesize
    from xorloom.hw.index.decoder import index_core

    if isinstance(config, BitmapConfig):
        return 0.0
    text = component_verilog(index_core(config), "xorloom_index")
    luts = synthesize(text, "xorloom_index", "ecp5", seeds=0).lut
    assert luts is not None
    return luts / config.n_out


def speed_rows(
    windows: Sequence[int],
    rate: float,
    weights: int,
    repeats: int,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Time one pass of the trellis search on one core, i.i.d. Gaussian weights, density 0.09."""
    rng = np.random.default_rng(SEED)
    importance = np.abs(rng.standard_normal((max(1, weights // _N_OUT), _N_OUT), np.float32))
    rows = []
    for window in windows:
        config = _config("trellis", rate, 0.09, window)
        assert isinstance(config, TrellisConfig)
        seconds = []
        for n in range(repeats + 1):
            start = time.perf_counter()
            trellis_stream.encode_at(importance, importance.size, 1.17, config)
            if n:  # the first run compiles
                seconds.append(time.perf_counter() - start)
            progress("trellis", f"window {window}")
        mweights = importance.size / 1e6
        rows.append(
            {
                "codec": "trellis",
                "window": window,
                "rate": config.rate,
                "weights": importance.size,
                "threads": 1,
                "mweights_per_s": mweights / statistics.median(seconds),
                "mweights_per_s_min": mweights / max(seconds),
                "mweights_per_s_max": mweights / min(seconds),
            }
        )
    return rows


def _gaussian(case: str) -> Mapping[str, ModelTensor]:
    rng = np.random.default_rng(SEED)
    return from_arrays(
        {
            f"fc{6 + k}": 0.01 * rng.standard_normal(shape, np.float32)
            for k, shape in enumerate(CASES[case])
        }
    )


def _requests(density: float, rates: Sequence[float]) -> Iterator[tuple[str, float | None]]:
    yield "bitmap", None
    yield "entropy", None
    yield "lowrank", None
    for rate in rates:
        yield "trellis", rate


def total_rows(
    case: str,
    density: float,
    rates: Sequence[float],
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Compress a named case with every index; count all bits of the file's tensors.

    ``bits_per_weight`` counts index, value plane, scales, headers and padding; ``kept`` and
    ``error`` are means over the tensors, weighted by size; ``lossless``: what the file decodes to
    is what was encoded.

    Raises
    ------
    ConfigError
        If there is no such case.
    """
    if case not in CASES:
        raise ConfigError(f"case must be one of {', '.join(CASES)}, not {case!r}")
    model = _gaussian(case)
    rows = []
    for codec, rate in _requests(density, rates):
        value = WindowConfig(n_out=_N_OUT)
        index = None
        if codec != "bitmap":
            index = index_config(codec, value, 1, density=density, rate=rate)
        spec = CompressSpec(sparsity=1 - density, config=value, index=index)
        with tempfile.TemporaryDirectory(prefix="xorloom-") as folder:
            path = Path(folder) / "case.safetensors"
            made = compress_model(model, path, spec)
            config, bits = made.config, made.bits
            container = read_container(path)
            total = sum(bits.values(), start=_NOTHING)
            kept, lossless = 0.0, True
            for name, tensor in model.items():
                mask = verify_tensor(container, name).mask
                kept += kept_share(tensor.weights(), mask).magnitude * mask.size / total.weights
            index_bits = sum(container.entry(name + INDEX)[2] for name in model) * 8
        rows.append(
            {
                "case": case,
                "index": codec,
                "value": config.codec,
                "weights": total.weights,
                "density": total.kept / total.weights,
                "index_bits": index_bits / total.weights,
                "bits_per_weight": total.total / total.weights,
                "kept": kept,
                **loss_row(total, mean_error(bits, made.errors)),
                "lossless": lossless,
            }
        )
        progress(codec, f"{rate or ''}")
    return rows


_NOTHING = TensorBits(0, 0, 1, 0, 0, 0, 0, 0, 0.0, 0.0)
