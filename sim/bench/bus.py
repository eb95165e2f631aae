# SPDX-License-Identifier: Apache-2.0
"""Bus benchmark: whole matrices through decoders on memory models; cycles, bus use, waits."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

import numpy as np
from xorloom.sim import datasets
from xorloom.sim.bandwidth.presets import memory as memory_named
from xorloom.sim.bench.baselines.config import BaselineConfig
from xorloom.sim.bench.baselines.simulate import baseline_top, simulate_baseline
from xorloom.sim.bench.baselines.streams import encode_baseline
from xorloom.sim.simulate.bus import DECODER, BusResult, decoder_top, simulate_bus
from xorloom.sim.simulate.runner import build
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.index.choice import index_config
from xorloom.sw.index.masks import chosen_with
from xorloom.sw.index.plane import encode_index
from xorloom.sw.index.rate_distortion import binary_entropy, kept_share
from xorloom.sw.memory.weight_stream import join_tensor
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import EntropyConfig, IndexConfig
from xorloom.sw.spec.weight_format import WeightFormat
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.prune import check_sparsity, prune_tensor
from xorloom.sw.tensors.quantize import Quantizer, quantize
from xorloom.sw.value.plane import encode_value
from xorloom.sw.value.search import window_for

__all__ = [
    "CASES",
    "DESIGNS",
    "build_designs",
    "bus_configs",
    "bus_rows",
    "case_weights",
    "check_names",
]

_VALUE_EFFICIENCY = 0.975
_INDEX_EFFICIENCY = 0.95
_SPARE = 1.1
"""How much faster than its bus a decoder is chosen to be, on average."""
_INDEXES = {"xorloom": "trellis", "xorloom-entropy": "entropy", "xorloom-bitmap": "bitmap"}
DESIGNS = (*_INDEXES, "csr", "bitmask", "rice", "dense")
"""Names of designs. ``xorloom`` chooses the mask itself, all others keep the largest weights."""
_RICE_LANES = 32
"""With sixteen, a sixth of the bus is unused at sparsity 0.9."""
_FFN = ("intermediate.dense.weight", "output.dense.weight")
CASES = {
    "gaussian-64k": "256 x 256 i.i.d. weights",
    "minilm-ffn0": "MiniLM-L6, the first layer's 1536 x 384 matrix",
    "minilm-ffn": "MiniLM-L6, all twelve 1536 x 384 and 384 x 1536 matrices",
    "alexnet-fc": "1024 rows of AlexNet's 4096-input layer, 4 Mi i.i.d. weights",
}
_SHAPES = {"gaussian-64k": (256, 256), "alexnet-fc": (1024, 4096)}


@lru_cache(maxsize=2)
def case_weights(case: str) -> tuple[np.ndarray, ...]:
    """Return the matrices of a case.

    Raises
    ------
    ConfigError
        If there is no such case.
    ToolError
        If real weights cannot be downloaded.
    """
    check_names((), (), [case])
    if case in _SHAPES:
        rng = np.random.default_rng(datasets.SEED)
        return (rng.standard_normal(_SHAPES[case], np.float32),)
    named = {
        name: tensor
        for name, tensor in open_model(datasets.minilm()).items()
        if name.endswith(_FFN) and math.prod(tensor.shape) == 384 * 1536
    }
    first = [name for name in named if name.endswith("layer.0." + _FFN[0])]
    return tuple(named[name].weights() for name in (first if case == "minilm-ffn0" else named))


def bus_configs(design: str, density: float, bus_bits: int) -> tuple[WindowConfig, IndexConfig]:
    """Return the smallest decoder of a design that is faster than its bus.

    Raises
    ------
    ConfigError
        If none is.
    """
    codec = _INDEXES[design]
    index_bits = {
        "trellis": datasets.DEMO_INDEX_BITS,
        "entropy": binary_entropy(density) / _INDEX_EFFICIENCY,
        "bitmap": 1.0,
    }[codec]
    value_bits = density / _VALUE_EFFICIENCY
    pace = _SPARE * bus_bits / (index_bits + value_bits)  # weights per cycle
    for n_out in (64, 128, 256, 512, 1024, 2048):
        value = WindowConfig(n_out=n_out, window=max(512, n_out), bus_bits=bus_bits)
        value = window_for(density, value)
        if n_out < pace or not pace * value_bits <= value.n_in <= n_out * density:
            continue  # seeds must keep pace, and a mean slice use all of its step's chunk
        index = index_config(
            codec,
            value,
            1,
            density=density,
            rate=datasets.DEMO_INDEX_BITS if codec == "trellis" else None,
        )
        if not isinstance(index, EntropyConfig):
            return value, index
        # Two lanes share a state machine, so a lane makes four weights per cycle. Twice as many are
        # needed where most lanes want bits in the same cycle.
        lanes = min(64, 1 << math.ceil(math.log2(max(2.0, pace / 2))))
        if 8 * lanes <= n_out:
            return value, replace(index, lanes=lanes)
    raise ConfigError(
        f"no {design} decoder keeps up with {bus_bits} bits per cycle at sparsity {1 - density:g} "
        "(use a narrower bus)"
    )


@dataclass(frozen=True)
class _Work:
    """Streams of one design and case; ``run(memory, clock_mhz)`` simulates them."""

    run: Callable[[str, float], BusResult | str]
    stored_bits: int
    kept: float
    config: dict[str, Any]


def _kept(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Share of the magnitude that the largest weights bring, over tensors of (weights, mask)."""
    sizes = [mask.size for _, mask in pairs]
    shares = [kept_share(weights, mask).magnitude for weights, mask in pairs]
    return float(np.average(shares, weights=sizes))


def _decoder_work(
    design: str, tensors: Sequence[np.ndarray], density: float, bus_bits: int
) -> _Work:
    value, index = bus_configs(design, density, bus_bits)
    form = WeightFormat(value, 1, index)
    streams, pairs = [], []
    for weights in tensors:
        if index.chooses_mask:
            choice = chosen_with(index, weights, np.abs(weights), density, value, 1)
            size, order, chosen = choice.slices_per_stream, choice.order, choice.encoded
            mask = choice.mask
        else:
            size, order, chosen = None, "auto", None
            mask = prune_tensor(weights, 1 - density)
        codes = quantize(weights, mask, Quantizer(), fixed_mask=True).codes
        values, _, layout = encode_value(mask, codes, 1, value, order, slices_per_stream=size)
        masks = chosen or encode_index(mask, index, layout.order, layout.slices_per_stream)
        streams.append(join_tensor(values, masks.streams, form)[0])
        pairs.append((weights, mask))

    def run(memory: str, clock_mhz: float) -> BusResult | str:
        return simulate_bus(streams, value, [index], memory=memory, clock_mhz=clock_mhz)

    facts = {"n_out": value.n_out, "n_in": value.n_in, "window": value.window}
    for name in ("n_in", "lanes"):
        if hasattr(index, name):
            facts[f"index_{name}"] = getattr(index, name)
    return _Work(run, 8 * sum(map(len, streams)), _kept(pairs), facts)


def _baseline_config(bus_bits: int) -> BaselineConfig:
    return BaselineConfig(bus_bits=bus_bits, n_out=max(256, 2 * bus_bits), lanes=_RICE_LANES)


def _baseline_work(
    design: str, tensors: Sequence[np.ndarray], density: float, bus_bits: int
) -> _Work:
    config = _baseline_config(bus_bits)
    pairs = []
    for weights in tensors:
        mask = prune_tensor(weights, 1 - density)
        codes = quantize(weights, mask, Quantizer(), fixed_mask=True).codes
        pairs.append((mask.reshape(-1), codes.reshape(-1)))
    streams = [encode_baseline(design, mask, codes, config) for mask, codes in pairs]

    def run(memory: str, clock_mhz: float) -> BusResult | str:
        return simulate_baseline(design, streams, pairs, config, memory=memory, clock_mhz=clock_mhz)

    facts = {"n_out": config.n_out} | ({"lanes": config.lanes} if design == "rice" else {})
    return _Work(run, 8 * sum(map(len, streams)), 1.0, facts)


def _row(result: BusResult | str, memory: str, clock_mhz: float, bus_bits: int) -> dict[str, Any]:
    """Return the measured columns of a row; a failure has no numbers."""
    if isinstance(result, str):
        names = ("cycles", "bus_utilisation", "weights_per_cycle", "stall_cycles")
        return dict.fromkeys(names) | {"bit_exact": False, "mismatch": result}
    share = memory_named(memory).words_per_cycle(clock_mhz, bus_bits)
    return {
        "cycles": result.cycles,
        "bus_utilisation": result.bus_utilisation,
        "weights_per_cycle": result.weights / result.cycles,
        "stall_cycles": result.stall_cycles,
        "bit_exact": True,
        "of_memory": result.bus_utilisation / result.memory_share,
        "bus_mbytes_per_s": share * clock_mhz * bus_bits / 8,
        "mweights_per_s": result.weights / result.cycles * clock_mhz,
        "bus_cycles": result.bus_cycles,
        "weights": result.weights,
        "memory_waits": result.waits,
        "memory_idle": result.idle,
        "not_taken": result.not_ready,
        "counters": result.counters,
    }


def _build(design: str, sparsity: float, bus_bits: int) -> None:
    if design in _INDEXES:
        value, index = bus_configs(design, 1 - sparsity, bus_bits)
        build(decoder_top(value, (index,), 1), DECODER)
    else:
        build(baseline_top(design, _baseline_config(bus_bits)), f"baseline_{design}")


def build_designs(
    designs: Sequence[str], sparsities: Sequence[float], bus_bits: int, processes: int = 2
) -> None:
    """Build the simulations that :func:`bus_rows` will run, some side by side.

    Raises
    ------
    ConfigError
        If a design is unknown or no decoder fits.
    ToolError
        If the simulator is missing or a build fails.
    """
    check_names(designs, (), ())
    wanted = [
        (design, sparsity, bus_bits)
        for design in designs
        for sparsity in (sparsities if design in _INDEXES else sparsities[:1])
    ]
    # Processes, not threads: a build sets environment variables.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        list(pool.map(_build, *zip(*wanted, strict=True)))


def check_names(designs: Sequence[str], memories: Sequence[str], cases: Sequence[str]) -> None:
    """Check what a user named.

    Raises
    ------
    ConfigError
        If a design, memory or case is unknown.
    """
    for what, names, known in (("design", designs, DESIGNS), ("case", cases, CASES)):
        for name in names:
            if name not in known:
                raise ConfigError(f"{what} must be one of {', '.join(known)}, not {name!r}")
    for name in memories:
        memory_named(name)


def bus_rows(
    designs: Sequence[str],
    memories: Sequence[str],
    cases: Sequence[str],
    sparsities: Sequence[float],
    *,
    bus_bits: int = 64,
    clock_mhz: float = 100.0,
    progress: Progress = no_progress,
) -> Iterator[dict[str, Any]]:
    """Yield a row for every design, memory, case and sparsity; codes have one bit.

    ``cycles`` run from the first address to the last beat. ``bus_utilisation`` is payload bits
    (index and values, no header, CRC, schedule or padding) over bus bits of all cycles to the last
    word, ``of_memory`` the same over the cycles in which the memory could deliver;
    ``bus_mbytes_per_s`` is what it delivers by its model. ``stall_cycles`` are lost to the memory,
    to the decoder, and to the consumer (always ready here). ``kept``: magnitude of the kept
    weights over that of as many of the largest.

    Raises
    ------
    ConfigError
        If a design, memory or case is unknown, or no decoder fits.
    ToolError
        If real weights cannot be downloaded, or the simulator is missing.
    """
    check_names(designs, memories, cases)
    for case in cases:
        for sparsity in map(check_sparsity, sparsities):
            for design in designs:
                make = _decoder_work if design in _INDEXES else _baseline_work
                tensors = case_weights(case)
                work = make(design, tensors, 1 - sparsity, bus_bits)
                stored = work.stored_bits / sum(weights.size for weights in tensors)
                for memory in memories:
                    head = {
                        "design": design,
                        "memory": memory,
                        "bus_bits": bus_bits,
                        "case": case,
                    }
                    facts = {
                        "sparsity": sparsity,
                        "clock_mhz": clock_mhz,
                        "bits_per_weight": stored,
                        "kept": work.kept,
                        "config": work.config,
                    }
                    row = _row(work.run(memory, clock_mhz), memory, clock_mhz, bus_bits)
                    yield head | row | facts
                    progress(design, f"{case} S {sparsity:g} {memory}")
