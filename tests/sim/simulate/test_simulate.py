# SPDX-License-Identifier: Apache-2.0
"""Generated decoders against the golden model: Verilog under cocotb, RTL in Amaranth's simulator.

Every Verilog build takes tens of seconds of CPU time, so the tests share a few configurations.
"""

import contextlib
import json
import os
import re
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
from safetensors.numpy import save_file
from xorloom.hw.block.decoder import BlockDecoder
from xorloom.hw.block.lane import BlockLane
from xorloom.sim.datasets import iid, minilm
from xorloom.sim.simulate import decoder as simulate_module
from xorloom.sim.simulate.cases import iid_case, model_case
from xorloom.sim.simulate.decoder import simulate_case, simulate_streams
from xorloom.sim.simulate.result import SimulationResult
from xorloom.sim.testbenches.decoder import first_mismatch
from xorloom.sw.base.errors import ConfigError, ToolError
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.golden.block import block_decoder
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.network import patch_unit, xor_network
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.spec import CompressSpec
from xorloom.sw.model.verify import expected_bytes, golden_codes
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.layout import Header, network_id, padded
from xorloom.sw.spec.taps import columns
from xorloom.sw.tensors.model_io import open_model
from xorloom.sw.tensors.orders import ORDERS
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.block import codec as block_codec
from xorloom.sw.value.block import stream
from xorloom.sw.value.plane import encode_value, value_frames

from tests.helpers.rtl import drive, random_slices, random_stream
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
SLOW = ("bus_128", "bus_256_two_stages", "equal", "wide")
"""Builds of their own that the others leave little to find for: make test-all."""


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


@pytest.mark.parametrize("name", few(WIDTHS))
def test_decoder_recovers_from_reset_mid_stream(name: str) -> None:
    config, stages = WIDTHS[name]
    streams = [random_stream(config, 6 * config.lanes, 5, [0, 1, 9]), random_stream(config, 4, 6)]
    run(streams, config, stages=stages, reset_after=[1, 2, 3, 4, 5, 6, 7, 9, 12, 17, 23, 31, 40])


def test_decoder_recovers_from_reset_while_stalled() -> None:
    streams = [random_stream(BUS_32, 30, 5, [0, 1, 9]), random_stream(BUS_32, 4, 6)]
    how = {"source": "random", "sink": "slow"}
    run(streams, BUS_32, reset_after=[5, 11, 12, 13, 14, 29, 60], seed=7, **how)


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


def test_decoder_decodes_three_planes_of_a_tensor() -> None:
    mask, codes = iid(9_000, 0.9, 3, seed=4)
    slices = block_codec.encode(mask, codes, 3, DEFAULT)
    data, _ = stream.pack_block(slices, DEFAULT)
    result = run([data], DEFAULT, source="random", sink="random")
    assert result.bits_checked == 45 * 3 * 200
    assert (block_codec.decode(slices, mask, 3, DEFAULT) == np.where(mask, codes, 0)).all()


def step_words(data: bytes, config: BlockConfig) -> tuple[list[int], int]:
    """Bus words that every decoder step waits for, and how many control words there are.

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
        words = 0
        while parsed < len(groups) and parsed <= g + 3:
            words += fetch("control", threshold)
            opens = parsed >= 0 and parsed % span == 0
            bits = 4 if parsed < 0 else lanes * widths[parsed // span] + 4 * opens
            level["control"] -= bits
            parsed += 1
        control_words += words
        words += fetch("seed", lanes * config.n_in)
        level["seed"] -= lanes * config.n_in
        for first in range(0, max(1, *counts), per_cycle):
            need = sum(min(max(n - first, 0), per_cycle) for n in counts) * config.position_bits
            steps.append(words + fetch("patch", need))
            level["patch"] -= need
            words = 0
    return steps, control_words


LATENCY = 24


def check_cycles(cycles: int, data: bytes, config: BlockConfig) -> None:
    """A step takes a cycle, or a cycle for each of its words; a control word may cost one more."""
    steps, control_words = step_words(data, config)
    payload = len(data) // config.bus_bytes - padded(16, config.bus_bytes) // config.bus_bytes
    assert sum(steps) == payload - padded(4, config.bus_bytes) // config.bus_bytes
    least = sum(max(1, words) for words in steps)
    assert least < cycles < least + control_words + LATENCY


def throughput(groups: int, n_patch: list[int], config: BlockConfig) -> int:
    data = random_stream(config, groups * config.lanes, 8, n_patch)
    cycles = run([data], config).cycles
    check_cycles(cycles, data, config)
    return cycles


@pytest.mark.parametrize(
    "config",
    [pytest.param(BUS_128, marks=pytest.mark.slow), DEFAULT],
    ids=["bus_128", "bus_64"],
)
def test_decoder_delivers_a_group_a_cycle_when_no_step_needs_two_words(config: BlockConfig) -> None:
    short, long = (throughput(groups, [0], config) for groups in (150, 250))
    assert 0 < short - 150 < LATENCY
    assert long - short == 100, "one group a cycle"


@pytest.mark.xfail(strict=True, reason="a step that needs two words takes two cycles")
def test_decoder_delivers_a_group_a_cycle_when_the_bus_keeps_up() -> None:
    # A group takes at most 60 seed, 54 patch and 6 count bits of a 128-bit word.
    short, long = (throughput(groups, [0, 1, 2, 3], BUS_128) for groups in (150, 250))
    assert 0 < short - 150 < LATENCY
    assert long - short == 100, "one group a cycle"


@pytest.mark.parametrize("n_patch", [[0, 1, 2, 3], [7], [0, 0, 20]], ids=str)
def test_decoder_cycles_follow_from_words_and_steps(n_patch: list[int]) -> None:
    throughput(120, n_patch, BUS_128)


def test_decoder_keeps_up_with_a_memory() -> None:
    case = iid_case(0.91, 200_000, 1, DEFAULT, search=False)
    row = simulate_case(case, memory_name="sdr-133", clock_mhz=100.0)
    assert row["bit_exact"]
    assert row["model_limit"] == "memory"
    assert 0.97 < row["cycles_to_model"] < 1.04
    assert row["memory"] == "sdr-133"


def test_decoder_decodes_a_million_weights_of_an_alexnet_like_layer() -> None:
    case = iid_case(0.91, 1_000_000, 1, DEFAULT, search=False)
    row = simulate_case(case)
    assert row["bit_exact"], row.get("mismatch")
    assert row["bits_checked"] == 1_000_000
    assert row["words"] == case.words
    assert row["slices"] == case.slices == 5000
    check_cycles(row["cycles"], case.streams[0], DEFAULT)
    assert 1.0 <= row["cycles_to_model"] < 1.2
    assert row["weights_per_cycle"] > 300


@pytest.mark.slow
def test_decoder_decodes_a_full_size_alexnet_layer() -> None:
    size = 9216 * 4096
    case = iid_case(0.91, size, 1, DEFAULT, search=False)
    row = simulate_case(case)
    assert row["bit_exact"], row.get("mismatch")
    assert row["bits_checked"] == -(-size // 200) * 200
    check_cycles(row["cycles"], case.streams[0], DEFAULT)
    assert 1.0 <= row["cycles_to_model"] < 1.2


def real_weights() -> np.ndarray:
    """A feed-forward matrix of MiniLM, or a stand-in."""
    try:
        model = open_model(minilm())
    except ToolError as error:
        warnings.warn(f"synthetic weights instead of MiniLM: {error}", stacklevel=2)
        return clustered_weights(1536, 384, seed=1)
    return model["encoder.layer.0.intermediate.dense.weight"].weights()


def test_decoder_decodes_a_whole_matrix_of_a_compressed_model(tmp_path: Path) -> None:
    weights = real_weights()
    source, target = tmp_path / "model.npz", tmp_path / "model.xl.safetensors"
    np.savez(source, dense=weights, small=weights[:40, :50])
    command = [
        sys.executable,
        "-m",
        "xorloom.sim.cli",
        "compress",
        str(source),
        "-o",
        str(target),
    ]
    command += ["--value", "block", "--sparsity", "0.9", "--n-out", "200", "--min-size", "1000"]
    subprocess.run(command, check=True, capture_output=True)
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


def test_simulate_streams_reports_where_a_bit_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    group, lane, bit = 5, 1, 33
    original = expected_bytes

    def corrupted(data: bytes, config: BlockConfig) -> bytes:
        wrong = bytearray(original(data, config))
        at = group * -(-config.lanes * config.n_out // 8) * 8 + lane * config.n_out + bit
        wrong[at // 8] ^= 1 << (at % 8)
        return bytes(wrong)

    monkeypatch.setattr(simulate_module, "expected_bytes", corrupted)
    result = simulate_streams([random_stream(BUS_32, 30, 1)], BUS_32)
    assert isinstance(result, str)
    assert re.fullmatch(
        r"stream 0: beat 5 lane 1 slice bit 33: expected ([01]), got (?!\1)[01] "
        r"\(1 bytes differ\)",
        result,
    )
    case = iid_case(0.8, 2_000, 1, BUS_32, search=False)
    row = simulate_case(case)
    assert row["bit_exact"] is False
    assert row["mismatch"].startswith("stream 0: beat 5 lane 1 slice bit 33: ")


def test_simulate_streams_reports_a_packet_of_another_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = expected_bytes
    monkeypatch.setattr(simulate_module, "expected_bytes", lambda *a: original(*a) + b"\0" * 11)
    result = simulate_streams([random_stream(BUS_32, 4, 1)], BUS_32)
    assert result == "stream 0: packet of 22 bytes, expected 33"


def test_first_mismatch_counts_from_bit_zero_of_lane_zero() -> None:
    # 10 bits per slice, 2 lanes: 3 bytes per group; bit 13 of group 1 is bit 3 of lane 1.
    want = bytes([1, 2, 3, 4, 5, 6])
    got = bytes([1, 2, 3, 4, 5 ^ 0x20, 7])
    assert first_mismatch(got, want, 10, 3) == (
        "beat 1 lane 1 slice bit 3: expected 0, got 1 (2 bytes differ)"
    )
    assert first_mismatch(want, want, 10, 3) is None


def test_simulate_streams_writes_a_waveform_on_request(tmp_path: Path) -> None:
    waves = tmp_path / "made" / "dump.vcd"
    run([random_stream(BUS_32, 5, 1)], BUS_32, waves_to=waves)
    text = waves.read_text()
    assert "$enddefinitions" in text
    assert "s_axis_tdata" in text
    assert text.count("\n#") > 20, "clock edges"


def test_simulate_streams_waveform_is_what_its_name_says(tmp_path: Path) -> None:
    waves = tmp_path / "dump.fst"
    with contextlib.suppress(ConfigError):  # refusing the ending would do as well
        run([random_stream(BUS_32, 5, 1)], BUS_32, waves_to=waves)
        assert waves.read_bytes()[:1] == b"\0", "an FST file opens with block type 0"


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


def test_iid_case_searches_the_slice_length_on_request() -> None:
    case = iid_case(0.8, 4_000, 2, BlockConfig(n_in=8, lanes=2), search=True)
    assert case.weights == 4_000
    assert case.config.n_out != BlockConfig.n_out
    assert case.slices == 2 * -(-4_000 // case.config.n_out)
    assert case.words == len(case.streams[0]) // 8


def test_iid_case_refuses_bad_arguments() -> None:
    with pytest.raises(ConfigError, match=r"sparsity must be in \[0, 1\), not 1.0"):
        iid_case(1.0, 10, 1, DEFAULT, search=False)
    with pytest.raises(ConfigError, match="weights must be at least 1, not 0"):
        iid_case(0.5, 0, 1, DEFAULT, search=False)


def test_simulate_case_refuses_memory_and_pattern_together() -> None:
    case = iid_case(0.5, 10, 1, DEFAULT, search=False)
    with pytest.raises(ConfigError, match="give either a memory or a source pattern"):
        simulate_case(case, memory_name="sdr-133", source="random")
    with pytest.raises(ConfigError, match=r"memory must be one of sdr-133, .*, not 'ddr9'"):
        simulate_case(case, memory_name="ddr9")
    with pytest.raises(ConfigError, match="simulator must be one of verilator, icarus, not 'vcs'"):
        simulate_case(case, simulator="vcs")


@pytest.mark.parametrize("pattern", ["sometimes", "", "xxx"])
@pytest.mark.parametrize("side", ["source", "sink"])
def test_simulate_case_refuses_an_unknown_or_endless_pattern(
    side: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_reached(*_args: object, **_options: object) -> SimulationResult:
        pytest.fail(f"pattern {pattern!r} reached the simulator")

    monkeypatch.setattr(simulate_module, "build", not_reached)
    case = iid_case(0.5, 10, 1, BUS_32, search=False)
    with pytest.raises(ConfigError, match=r"pattern|source|sink"):
        simulate_case(case, **{side: pattern})


@pytest.mark.parametrize("clock", [0.0, -5.0])
def test_simulate_case_refuses_an_impossible_clock(
    clock: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate_module, "build", lambda *a, **k: pytest.fail("not refused"))
    case = iid_case(0.5, 10, 1, BUS_32, search=False)
    with pytest.raises(ConfigError, match="clock"):
        simulate_case(case, memory_name="sdr-133", clock_mhz=clock)


def test_expected_bytes_pads_groups_to_bytes() -> None:
    config = BlockConfig(n_in=3, n_out=5, lanes=1, bus_bits=32, block_groups=2)
    slices = random_slices(config, 3, 1, [0])
    data, _ = stream.pack_block(slices, config)
    cols = columns(config.rows, 3)
    assert expected_bytes(data, config) == bytes(xor_network(cols, int(s)) for s in slices.seeds)


RTL = [  # in Amaranth's simulator, where a configuration costs a second instead of a build
    BlockConfig(n_in=1, n_out=1, lanes=1, bus_bits=32, block_groups=2),
    BlockConfig(n_in=64, n_out=2, lanes=1, patches_per_cycle=16, bus_bits=32, block_groups=3),
    BlockConfig(n_in=32, n_out=9, lanes=2, patches_per_cycle=1, bus_bits=64, block_groups=4),
    BlockConfig(n_in=5, n_out=16, lanes=7, patches_per_cycle=3, bus_bits=32, block_groups=2),
    BlockConfig(n_in=64, n_out=17, lanes=3, patches_per_cycle=2, bus_bits=64, block_groups=65536),
    BlockConfig(n_in=3, n_out=130, lanes=2, patches_per_cycle=4, bus_bits=128, block_groups=5),
    BlockConfig(n_in=9, n_out=33, lanes=4, patches_per_cycle=1, bus_bits=256, block_groups=7),
    BlockConfig(n_in=16, n_out=6, lanes=5, patches_per_cycle=5, bus_bits=512, block_groups=2),
]


@pytest.mark.parametrize(("source", "sink"), [(0.0, 0.0), (0.3, 0.5)])
@pytest.mark.parametrize("config", RTL, ids=lambda c: f"{c.n_in}-{c.n_out}-{c.lanes}-{c.bus_bits}")
def test_decoder_rtl_equals_golden_model_on_odd_parameters(
    config: BlockConfig, source: float, sink: float
) -> None:
    counts = [config.lanes * 12 + 1, 1, config.lanes * 4]
    streams = [random_stream(config, n, seed) for seed, n in enumerate(counts)]
    words = [word for data in streams for word in bus_words(data, config.bus_bits)]
    cols = columns(config.rows, config.n_in)
    expected = [block_decoder(config, cols, bus_words(data, config.bus_bits)) for data in streams]
    groups = sum(map(len, expected))
    result = drive(BlockDecoder(config), words, groups, source=source, sink=sink, seed=2)
    finals, lives = [], []
    for item, want in zip(result.items, [g for frame in expected for g in frame], strict=True):
        got = sum(item.slices[j] << (j * config.n_out) for j in range(config.lanes))
        assert got == want
        finals.append(item.final)
        lives.append(item.live)
    assert finals == [int(k == len(frame) - 1) for frame in expected for k in range(len(frame))]
    every = (1 << config.lanes) - 1
    assert lives == [
        every if g < n // config.lanes else (1 << (n % config.lanes)) - 1
        for n in counts
        for g in range(-(-n // config.lanes))
    ]


@pytest.mark.parametrize("stages", [1, 2])
def test_block_lane_latency_and_slices_equal_the_twins(stages: int) -> None:
    config = BlockConfig(n_in=6, n_out=19, lanes=1, patches_per_cycle=1, bus_bits=32)
    lane = BlockLane(config, stages=stages)
    assert lane.latency == stages + 1
    cols = columns(config.rows, config.n_in)
    slices = [(n * 5 % 64, [n % 19]) for n in range(20)]
    slices[4] = (9, [0, 3, 18])
    beats, ends = [], []
    for seed, positions in slices:
        for k, position in enumerate(positions):
            last = k == len(positions) - 1
            beats.append(
                {
                    "seed": 0 if k else seed,
                    "patch": {"positions": [position], "enable": 1, "last": last},
                    "user": {"live": seed & 1, "final": last},
                }
            )
        ends.append(len(beats) - 1)
    result = drive(lane, beats, len(slices))
    assert result.offered_at == [result.in_at[end] + lane.latency for end in ends]
    for item, (seed, positions) in zip(result.items, slices, strict=True):
        assert item.bits == patch_unit(xor_network(cols, seed), positions)
        assert item.user.live == seed & 1
        assert item.user.final == 1


def test_padding_of_short_header_words_is_skipped_on_a_wide_bus() -> None:
    data = random_stream(BUS_512, 3, 1)
    assert padded(16, BUS_512.bus_bytes) == 64
    assert not any(data[16:64])
    assert len(expected_bytes(data, BUS_512)) == 2 * -(-2 * BUS_512.n_out // 8)


W_NARROW = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32)
W_EQUAL = WindowConfig(n_in=32, n_out=128, window=128, shared=32, frame=16, bus_bits=32)
W_WIDE = WindowConfig(n_in=64, n_out=128, window=128, shared=32, frame=16, bus_bits=32)
W_PATCH = WindowConfig(
    **{"n_in": 32, "n_out": 128, "window": 64, "own_taps": 3, "shared_taps": 0, "shared": 0},
    **{"frame": 16, "patches": 1, "bus_bits": 64},
)
WINDOWS = {"narrow": W_NARROW, "equal": W_EQUAL, "wide": W_WIDE, "patch": W_PATCH}
"""n_in below, equal to and above the bus, and one with patches."""


def window_streams(
    config: WindowConfig, size: int, planes: int = 1, density: float = 0.2, seed: int = 1
) -> list[bytes]:
    """Encode an i.i.d. tensor."""
    data, _, _ = encode_value(*iid(size, 1 - density, planes, seed), planes, config, "row")
    return split_streams(data, config.bus_bytes, "test")


def counted_bits(streams: list[bytes], config: WindowConfig) -> int:
    """Bits on ``m_axis``: whole slices of all streams."""
    counts = [Header.unpack(data, "test").count for data in streams]
    return sum(-(-count // config.n_out) * config.n_out for count in counts)


def window_set(name: str) -> tuple[WindowConfig, list[bytes]]:
    """Return streams of several tensors: sparse, dense, two planes, less than one slice."""
    config = WINDOWS[name]
    dense = 0.42 if config.patches else 0.9
    return config, [
        *window_streams(config, 40 * config.n_out, 1, 0.2),
        *window_streams(config, 20 * config.n_out + 5, 1, dense, 2),
        *window_streams(config, 9 * config.n_out + 1, 3, 0.2, 3),
        *window_streams(config, 7, 1, 0.5, 4),
    ]


@pytest.mark.parametrize(
    "stalls", [("none", "none"), ("random", "none"), ("none", "slow"), ("slow", "bursts")]
)
@pytest.mark.parametrize("name", few(WINDOWS))
def test_window_decoder_decodes_chained_streams_under_stalls(
    name: str, stalls: tuple[str, str]
) -> None:
    config, streams = window_set(name)
    assert len(streams) >= 4
    result = simulate_streams(streams, config, source=stalls[0], sink=stalls[1], seed=5)
    assert isinstance(result, SimulationResult), result
    # The run ends with the last output, for which the last CRC word need not be there.
    words = sum(len(data) // config.bus_bytes for data in streams)
    assert words - 2 <= result.words <= words
    assert result.bits_checked == counted_bits(streams, config)
    if stalls == ("none", "none"):
        assert result.output_waits == 0
        chunks = sum(len(data) for data in streams) * 8 // config.n_in
        assert result.cycles < max(result.words, chunks) + 60 * len(streams)


def test_window_patches_are_used_by_what_is_simulated() -> None:
    mask, codes = iid(20 * 128 + 5, 1 - 0.42, 1, 2)
    data, _, layout = encode_value(mask, codes, 1, W_PATCH, "row")
    frames = value_frames(data, mask.size, 1, W_PATCH, layout, "test")
    assert frames is not None
    assert sum(frames["patches"]) > 0


@pytest.mark.parametrize("name", few(WINDOWS))
def test_window_decoder_recovers_from_reset_mid_stream(name: str) -> None:
    config, streams = window_set(name)
    after = [1, 2, 3, 5, 8, 11, 17, 24, 33, 47, 80, 121]
    result = simulate_streams(streams, config, reset_after=after)
    assert isinstance(result, SimulationResult), result
    assert result.bits_checked == counted_bits(streams, config)


def test_window_decoder_recovers_from_reset_while_stalled() -> None:
    config, streams = window_set("narrow")
    how = {"source": "random", "sink": "slow", "seed": 7}
    result = simulate_streams(streams[1:], config, reset_after=[5, 13, 29, 60, 111], **how)
    assert isinstance(result, SimulationResult), result


def test_window_mismatch_is_reported_with_slice_and_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    number, bit = 6, 41
    original = expected_bytes

    def corrupted(data: bytes, config: WindowConfig) -> bytes:
        wrong = bytearray(original(data, config))
        at = number * config.n_out + bit
        wrong[at // 8] ^= 1 << (at % 8)
        return bytes(wrong)

    monkeypatch.setattr(simulate_module, "expected_bytes", corrupted)
    result = simulate_streams(window_streams(W_NARROW, 1000), W_NARROW)
    assert isinstance(result, str)
    assert re.fullmatch(
        r"stream 0: beat 6 lane 0 slice bit 41: expected ([01]), got (?!\1)[01] "
        r"\(1 bytes differ\)",
        result,
    )


@pytest.mark.parametrize("wrong", [1, 63])
def test_window_tuser_mismatch_is_reported(wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [*window_streams(W_NARROW, 640), *window_streams(W_NARROW, 1000)]  # 1000 % 64 is 40
    counts = iter([64, wrong])
    monkeypatch.setattr(simulate_module, "_valid_bits", lambda data, config: next(counts))
    result = simulate_streams(streams, W_NARROW)
    assert result == f"stream 1: tuser 40, expected {wrong}"


def test_window_packet_of_another_length_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    original = expected_bytes
    monkeypatch.setattr(simulate_module, "expected_bytes", lambda *a: original(*a) + b"\0" * 8)
    result = simulate_streams(window_streams(W_NARROW, 640), W_NARROW)
    assert result == "stream 0: packet of 80 bytes, expected 88"


def test_window_decoder_decodes_a_whole_matrix_of_a_compressed_model(tmp_path: Path) -> None:
    weights = clustered_weights(768, 512, seed=3)
    source, target = tmp_path / "model.safetensors", tmp_path / "model.xl.safetensors"
    save_file({"dense": weights, "small": weights[:40, :50].copy()}, source)
    spec = CompressSpec(sparsity=0.9, min_size=1000)
    config, _ = compress_model(open_model(source), target, spec)
    assert isinstance(config, WindowConfig)
    case = model_case(target, [])
    assert case.title == "dense 768x512", "the largest by default"
    assert (case.weights, case.slices) == (weights.size, 768)
    row = simulate_case(case)
    assert row["bit_exact"], row.get("mismatch")
    assert row["bits_checked"] == 768 * 512
    assert row["words"] == case.words
    assert 1.0 <= row["cycles_to_model"] < 1.05
    both = model_case(target, ["small", "dense"])
    assert both.streams[1:] == case.streams
    assert both.slices == 768 + 4
    row = simulate_case(both, memory_name="sdr-133", clock_mhz=100.0)
    assert row["bit_exact"], row.get("mismatch")
    assert 0.97 < row["cycles_to_model"] < 1.05


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("planes", [1, 3])
def test_window_golden_codes_equal_the_fast_decoder(
    planes: int, order: str, tmp_path: Path
) -> None:
    weights = {"w": clustered_weights(21, 37, seed=5), "t": clustered_weights(12, 35, seed=6)}
    weights["t"] = weights["t"].reshape(4, 3, 35)
    save_file(weights, tmp_path / "m.safetensors")
    quantizer = Quantizer("uniform", planes)
    spec = CompressSpec(0.7, "tensor", quantizer, W_NARROW, order, search=False, min_size=1)
    compress_model(open_model(tmp_path / "m.safetensors"), tmp_path / "c.safetensors", spec)
    container = read_container(tmp_path / "c.safetensors")
    for name in weights:
        assert container.tensor(name).layout.order == order
        golden = golden_codes(container, name)
        assert golden.dtype == np.uint8
        assert golden.any()
        assert (golden == decode_tensor(container, name).codes).all()


def test_window_iid_case_searches_n_in_on_request() -> None:
    case = iid_case(0.95, 40_000, 2, WindowConfig(), search=True)
    assert case.config == WindowConfig(n_in=16)
    assert (case.weights, case.slices) == (40_000, -(-40_000 // 256))
    assert case.words == sum(len(data) for data in case.streams) // 8
    fixed = iid_case(0.95, 4_000, 1, W_WIDE, search=False)
    assert fixed.config == W_WIDE
