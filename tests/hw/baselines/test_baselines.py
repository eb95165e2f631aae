# SPDX-License-Identifier: Apache-2.0
"""Baseline decoders in RTL against the software decoders."""

from typing import Any

import numpy as np
import pytest
from xorloom.hw.flow.export import component_verilog
from xorloom.sim.bench.baselines.config import BaselineConfig
from xorloom.sim.bench.baselines.streams import decode_baseline, encode_baseline
from xorloom.sim.datasets import iid
from xorloom.sim.simulate.runner import build, run

from tests.helpers.baselines import NAMES, unit
from tests.helpers.rtl import StreamRun, drive

SMALL = BaselineConfig(bus_bits=32, n_out=64, planes=1, lanes=4)


def bus_words(stream: bytes, config: BaselineConfig) -> list[dict[str, int]]:
    size = config.word_bytes
    parts = [stream[at : at + size] for at in range(0, len(stream), size)]
    return [
        {"data": int.from_bytes(part, "little"), "last": n == len(parts) - 1, "error": 0}
        for n, part in enumerate(parts)
    ]


def expected(name: str, stream: bytes, config: BaselineConfig) -> list[tuple[int, int, bool]]:
    """Beats (mask, codes, last) of a stream, from the software decoder."""
    mask, codes = decode_baseline(name, stream, config)
    count = -(-mask.size // config.n_out) * config.n_out
    bits = np.zeros((count, 1 + config.planes), bool)
    bits[: mask.size, 0] = mask
    bits[: mask.size, 1:] = codes[:, None] >> np.arange(config.planes) & 1
    beats = []
    for at in range(0, count, config.n_out):
        part = bits[at : at + config.n_out]
        ints = [
            int.from_bytes(np.packbits(b.reshape(-1), bitorder="little").tobytes(), "little")
            for b in (part[:, 0], part[:, 1:])
        ]
        beats.append((ints[0], ints[1], at + config.n_out >= count))
    return beats


def check(
    name: str,
    config: BaselineConfig,
    weights: list[tuple[np.ndarray, np.ndarray]],
    **stalls: Any,
) -> StreamRun:
    """Decode streams back to back; return the run."""
    streams = [encode_baseline(name, mask, codes, config) for mask, codes in weights]
    beats = [beat for stream in streams for beat in expected(name, stream, config)]
    words = [word for stream in streams for word in bus_words(stream, config)]
    run = drive(unit(name, config), words, len(beats), **stalls)
    for n, (item, beat) in enumerate(zip(run.items, beats, strict=True)):
        assert (item.mask, item.codes, bool(item.last)) == beat, f"slice {n}"
    return run


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("source", "sink"),
    [
        pytest.param(0.0, 0.0, marks=pytest.mark.slow),
        pytest.param(0.0, 0.6, marks=pytest.mark.slow),
        (0.3, 0.3),
    ],
)
def test_baseline_decodes_streams_back_to_back_under_stalls(
    name: str, source: float, sink: float
) -> None:
    shapes = [(500, 0.7), (64, 0.9), (65, 0.3)]
    weights = [iid(size, sparsity, 1, n) for n, (size, sparsity) in enumerate(shapes)]
    check(name, SMALL, weights, source=source, sink=sink)


@pytest.mark.parametrize("name", NAMES)
def test_baseline_decodes_corner_streams(name: str) -> None:
    def weights(size: int, kept: list[int] | slice) -> tuple[np.ndarray, np.ndarray]:
        mask = np.zeros(size, bool)
        mask[kept] = True
        return mask, np.ones(size, np.uint8)

    every = [weights(200, slice(None)), weights(200, []), weights(1, [0]), weights(1, [])]
    empty = weights(0, [])
    edges = [weights(256, [0]), weights(256, [255]), weights(256, [63, 64]), weights(640, [639])]
    check(name, SMALL, [*every, empty, *edges, empty, every[0]], sink=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("planes", [3])
def test_baseline_decodes_codes_of_several_planes(name: str, planes: int) -> None:
    config = BaselineConfig(bus_bits=32, n_out=32, planes=planes, lanes=4)
    check(name, config, [iid(500, s, planes, n) for n, s in enumerate((0.9, 0.1))], sink=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bus_bits", [64])
def test_baseline_decodes_other_widths(name: str, bus_bits: int) -> None:
    config = BaselineConfig(bus_bits=bus_bits, n_out=128, planes=1, lanes=8)
    check(name, config, [iid(300, s, 1, n) for n, s in enumerate((0.9, 0.5))], source=0.2)


# Cycles of 65,536 i.i.d. weights beyond those in which the bus brings a word, at most: a share of
# the words. CSR's lanes wait for each other at slices' ends, all of Rice's for one that lacks bits.
SPARE = {"dense": 0.01, "bitmask": 0.01, "csr": 0.1, "rice": 0.42}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_baseline_keeps_up_with_the_bus(name: str) -> None:
    config = BaselineConfig()
    built = build(component_verilog(unit(name, config), f"baseline_{name}"), f"baseline_{name}")
    for sparsity in (0.7, 0.9, 0.95):
        mask, codes = iid(1 << 16, sparsity, 1, 5)
        stream = encode_baseline(name, mask, codes, config)
        beats = expected(name, stream, config)
        words = [f"{word['data']:x}" for word in bus_words(stream, config)]
        job = {"words": words, "beats": len(beats), "limit": 4 * len(words) + 1000}
        result = run(built, "xorloom.sim.testbenches.baselines", "decodes_words", job)
        packed = [f"{codes | bits << 256 | last << 512:x}" for bits, codes, last in beats]
        assert result["beats"] == packed
        assert result["cycles"] <= len(words) * (1 + SPARE[name]) + 64
