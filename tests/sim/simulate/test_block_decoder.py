# SPDX-License-Identifier: Apache-2.0
"""Block decoder's Verilog under cocotb: streams as the golden model has them, cycle for cycle.

Builds cost CPU time, so the tests share a few configurations.
"""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xorloom.sim.datasets import iid, minilm
from xorloom.sim.simulate import decoder as simulate_module
from xorloom.sim.simulate.cases import iid_case, model_case
from xorloom.sim.simulate.decoder import simulate_case, simulate_streams
from xorloom.sim.simulate.result import SimulationResult
from xorloom.sw.base.errors import ConfigError, ToolError
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.container import read_container
from xorloom.sw.model.verify import expected_bytes, golden_codes
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.spec.layout import Header, network_id, padded
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.value.block import codec as block_codec
from xorloom.sw.value.block import stream

from tests.helpers.cli import xorloom
from tests.helpers.rtl import random_stream
from tests.helpers.weights import clustered_weights

DEFAULT = BlockConfig()
BUS_32 = BlockConfig(
    n_in=7, n_out=41, lanes=2, patches_per_cycle=2, bus_bits=32, block_groups=2, network_seed=5
)
BUS_128 = BlockConfig(n_in=20, n_out=43, lanes=3, patches_per_cycle=3, bus_bits=128)
BUS_256 = BlockConfig(n_in=33, n_out=29, lanes=1, patches_per_cycle=3, bus_bits=256, block_groups=3)
BUS_512 = BlockConfig(n_in=61, n_out=21, lanes=2, patches_per_cycle=1, bus_bits=512, block_groups=5)
WIDTHS = {  # configuration, stages
    "bus_32": (BUS_32, 1),
    "bus_64": (DEFAULT, 1),
    "bus_128": (BUS_128, 1),
    "bus_256_two_stages": (BUS_256, 2),
    "bus_512": (BUS_512, 1),
}
SLOW = ("bus_128", "bus_256_two_stages")
"""Builds of their own that the others leave little to find for: make test-all."""
LATENCY = 24


def few(names: Iterable[str]) -> list[Any]:
    """Mark those of :data:`SLOW`."""
    marks = {True: pytest.mark.slow, False: ()}
    return [pytest.param(name, marks=marks[name in SLOW]) for name in names]


def run(streams: list[bytes], config: BlockConfig, **how: Any) -> SimulationResult:
    """Simulate; fail with the mismatch; check the counters that follow from the streams."""
    result = simulate_streams(streams, config, **how)
    assert isinstance(result, SimulationResult), result
    if "reset_after" not in how:  # which adds the words before the reset
        assert result.words == sum(len(data) // config.bus_bytes for data in streams)
    assert result.cycles >= result.words
    return result


def live_bits(counts: list[int], config: BlockConfig) -> int:
    """Bits under ``tkeep``: whole bytes that hold a bit of a live slice."""
    bits = 0
    for count in counts:
        full, rest = divmod(count, config.lanes)
        beat = -(-config.lanes * config.n_out // 8) * 8
        bits += full * beat + -(-rest * config.n_out // 8) * 8
    return bits


@pytest.fixture(scope="module")
def three_streams() -> list[bytes]:
    """Back to back: whole groups, a partly filled last group, a single slice with many patches."""
    return [
        random_stream(DEFAULT, 120, 1),
        random_stream(DEFAULT, 50, 2, [0, 1, 40]),
        random_stream(DEFAULT, 1, 3, [150]),
    ]


@pytest.mark.build
@pytest.mark.parametrize(
    ("source", "sink"),
    [
        ("none", "none"),
        ("random", "none"),
        ("none", "random"),
        ("random", "random"),
        ("bursts", "bursts"),
        ("slow", "none"),
        ("none", "slow"),
        ("..x", "x."),
    ],
)
def test_decoder_decodes_chained_streams_under_stalls(
    source: str, sink: str, three_streams: list[bytes]
) -> None:
    result = run(three_streams, DEFAULT, source=source, sink=sink, seed=11)
    assert result.bits_checked == live_bits([120, 50, 1], DEFAULT)
    if sink == "none":
        assert result.output_waits == 0
    if source == "slow":
        assert result.cycles > 7 * result.words


@pytest.mark.build
@pytest.mark.parametrize("stalls", ["none", "random"])
@pytest.mark.parametrize("name", few(WIDTHS))
def test_decoder_decodes_every_bus_width(name: str, stalls: str) -> None:
    config, stages = WIDTHS[name]
    counts = [config.lanes * 40 + 1, 1, config.lanes * config.block_groups, config.lanes * 11 - 1]
    streams = [
        random_stream(config, counts[0], 1),
        random_stream(config, counts[1], 2, [config.n_out - 1]),
        random_stream(config, counts[2], 3, [0]),
        random_stream(config, counts[3], 4, range(config.n_out)),
    ]
    result = run(streams, config, stages=stages, source=stalls, sink=stalls, seed=3)
    assert result.bits_checked == live_bits(counts, config)


@pytest.mark.build
@pytest.mark.parametrize("name", few(WIDTHS))
def test_decoder_recovers_from_reset_mid_stream(name: str) -> None:
    config, stages = WIDTHS[name]
    streams = [random_stream(config, 6 * config.lanes, 5, [0, 1, 9]), random_stream(config, 4, 6)]
    run(streams, config, stages=stages, reset_after=[1, 2, 3, 4, 5, 6, 7, 9, 12, 17, 23, 31, 40])


@pytest.mark.build
def test_decoder_recovers_from_reset_while_stalled() -> None:
    streams = [random_stream(BUS_32, 30, 5, [0, 1, 9]), random_stream(BUS_32, 4, 6)]
    how = {"source": "random", "sink": "slow"}
    run(streams, BUS_32, reset_after=[5, 11, 12, 13, 14, 29, 60], seed=7, **how)


@pytest.mark.build
def test_decoder_skips_a_stream_without_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    header = Header(BlockConfig.kind, 0, network_id(BUS_32), 0).pack()
    empty = header + struct.pack("<I", zlib.crc32(header))
    live = random_stream(BUS_32, 9, 1)
    original = expected_bytes
    monkeypatch.setattr(
        simulate_module,
        "expected_bytes",
        lambda data, config: original(data.replace(empty, b""), config),
    )
    run([empty + live, empty + empty + live], BUS_32)


@pytest.mark.build
def test_decoder_decodes_three_planes_of_a_tensor() -> None:
    mask, codes = iid(9_000, 0.9, 3, seed=4)
    slices = block_codec.encode(mask, codes, 3, DEFAULT)
    data, _ = stream.pack_block(slices, DEFAULT)
    result = run([data], DEFAULT, source="random", sink="random")
    assert result.bits_checked == 45 * 3 * 200
    assert (block_codec.decode(slices, mask, 3, DEFAULT) == np.where(mask, codes, 0)).all()


def step_words(data: bytes, config: BlockConfig) -> tuple[list[tuple[int, int]], int]:
    """Seed and patch words that every decoder step waits for, and the number of control words.

    Written down from the format text, section 3.3.
    """
    lanes, per_cycle = config.lanes, config.patches_per_cycle
    flat = [int(n) for n in stream.unpack_block(data, config).n_patch]
    flat += [0] * (-len(flat) % lanes)
    groups = [flat[k : k + lanes] for k in range(0, len(flat), lanes)]
    span = config.block_groups
    blocks = [groups[k : k + span] for k in range(0, len(groups), span)]
    widths = [max(map(max, block)).bit_length() for block in blocks]
    threshold = 4 + lanes * config.position_bits
    level = {"control": 0, "seed": 0, "patch": 0}
    steps, control_words, parsed = [], 0, -1

    def fetch(kind: str, need: int) -> int:
        words = 0
        while level[kind] < need:
            level[kind] += config.bus_bits
            words += 1
        return words

    for g, counts in enumerate(groups):
        while parsed < len(groups) and parsed <= g + 3:
            control_words += fetch("control", threshold)
            opens = parsed >= 0 and parsed % span == 0
            bits = 4 if parsed < 0 else lanes * widths[parsed // span] + 4 * opens
            level["control"] -= bits
            parsed += 1
        seeds = fetch("seed", lanes * config.n_in)
        level["seed"] -= lanes * config.n_in
        for first in range(0, max(1, *counts), per_cycle):
            need = sum(min(max(n - first, 0), per_cycle) for n in counts) * config.position_bits
            steps.append((seeds, fetch("patch", need)))
            level["patch"] -= need
            seeds = 0
    return steps, control_words


def check_cycles(cycles: int, data: bytes, config: BlockConfig) -> None:
    """As many as there are words, or as steps take: one cycle, or one for each word of a kind."""
    steps, control_words = step_words(data, config)
    payload = len(data) // config.bus_bytes - padded(16, config.bus_bytes) // config.bus_bytes
    words = payload - padded(4, config.bus_bytes) // config.bus_bytes
    assert sum(map(sum, steps)) + control_words == words
    least = max(words, sum(max(1, *kinds) for kinds in steps))
    assert least < cycles < least + LATENCY


def throughput(groups: int, n_patch: list[int], config: BlockConfig) -> int:
    data = random_stream(config, groups * config.lanes, 8, n_patch)
    cycles = run([data], config).cycles
    check_cycles(cycles, data, config)
    return cycles


@pytest.mark.build
@pytest.mark.parametrize(
    "config",
    [pytest.param(BUS_128, marks=pytest.mark.slow), DEFAULT],
    ids=["bus_128", "bus_64"],
)
def test_decoder_delivers_a_group_a_cycle_when_no_step_needs_two_words(config: BlockConfig) -> None:
    short, long = (throughput(groups, [0], config) for groups in (150, 250))
    assert 0 < short - 150 < LATENCY
    assert long - short == 100, "one group a cycle"


@pytest.mark.build
def test_decoder_delivers_a_group_a_cycle_when_the_bus_keeps_up() -> None:
    # A group takes at most 60 seed, 54 patch and 6 count bits of a 128-bit word.
    short, long = (throughput(groups, [0, 1, 2, 3], BUS_128) for groups in (150, 250))
    assert 0 < short - 150 < LATENCY
    assert long - short == 100, "one group a cycle"


@pytest.mark.build
@pytest.mark.parametrize("n_patch", [[0, 1, 2, 3], [7], [0, 0, 20]], ids=str)
def test_decoder_cycles_follow_from_words_and_steps(n_patch: list[int]) -> None:
    throughput(120, n_patch, BUS_128)


@pytest.mark.build
def test_decoder_decodes_a_million_weights_of_an_alexnet_like_layer() -> None:
    case = iid_case(0.91, 1_000_000, 1, DEFAULT, search=False)
    row = simulate_case(case)
    assert row["bit_exact"], row.get("mismatch")
    assert row["bits_checked"] == 1_000_000
    assert row["words"] == case.words
    assert row["slices"] == case.slices == 5000
    check_cycles(row["cycles"], case.streams[0], DEFAULT)
    assert 1.0 <= row["cycles_to_model"] < 1.02
    assert row["weights_per_cycle"] > 300


@pytest.mark.slow
def test_decoder_decodes_a_full_size_alexnet_layer() -> None:
    size = 9216 * 4096
    case = iid_case(0.91, size, 1, DEFAULT, search=False)
    row = simulate_case(case)
    assert row["bit_exact"], row.get("mismatch")
    assert row["bits_checked"] == -(-size // 200) * 200
    check_cycles(row["cycles"], case.streams[0], DEFAULT)
    assert 1.0 <= row["cycles_to_model"] < 1.02


def real_weights() -> np.ndarray:
    """A feed-forward matrix of MiniLM, or a stand-in."""
    try:
        model = open_model(minilm())
    except ToolError as error:
        warnings.warn(f"synthetic weights instead of MiniLM: {error}", stacklevel=2)
        return clustered_weights(1536, 384, seed=1)
    return model["encoder.layer.0.intermediate.dense.weight"].weights()


@pytest.mark.build
def test_decoder_decodes_a_whole_matrix_of_a_compressed_model(tmp_path: Path) -> None:
    weights = real_weights()
    source, target = tmp_path / "model.npz", tmp_path / "model.xl.safetensors"
    np.savez(source, dense=weights, small=weights[:40, :50])
    options = ("--value", "block", "--sparsity", 0.9, "--n-out", 200, "--min-size", 1000)
    xorloom("compress", source, "-o", target, *options)
    case = model_case(target, [])
    assert case.title == f"dense {weights.shape[0]}x{weights.shape[1]}", "the largest by default"
    assert case.weights == weights.size
    row = simulate_case(case)
    assert row["bit_exact"], row.get("mismatch")
    assert row["bits_checked"] == 200 * case.slices
    check_cycles(row["cycles"], case.streams[0], case.config)

    both = model_case(target, ["small", "dense"])
    assert len(both.streams) == 2
    assert both.streams[1] == case.streams[0]
    container = read_container(target)
    golden = golden_codes(container, "small")
    assert (golden == decode_tensor(container, "small").codes).all()
    with pytest.raises(ConfigError, match="no compressed tensor 'none'"):
        model_case(target, ["none"])


@pytest.mark.build
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_decoder_decodes_on_icarus() -> None:
    # In a process group of its own, which can be ended if the simulation never does.
    command = [sys.executable, "-m", "xorloom.sim.cli", "simulate", "--json"]
    command += ["--value", "block", "--iid", "0.8", "--weights", "3000"]
    command += ["--n-in", "7", "--n-out", "41", "--lanes", "2"]
    command += ["--simulator", "icarus", "--source", "random", "--sink", "random"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("the simulation did not end within a minute")
    assert process.returncode == 0, err
    row = json.loads(out)
    assert row["bit_exact"]
    assert row["slices"] == -(-3000 // 41)


def test_padding_of_short_header_words_is_skipped_on_a_wide_bus() -> None:
    data = random_stream(BUS_512, 3, 1)
    assert padded(16, BUS_512.bus_bytes) == 64
    assert not any(data[16:64])
    assert len(expected_bytes(data, BUS_512)) == 2 * -(-2 * BUS_512.n_out // 8)
