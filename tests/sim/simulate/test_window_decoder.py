# SPDX-License-Identifier: Apache-2.0
"""The window decoder's Verilog under cocotb: every stream as the golden model has it."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sim.datasets import iid
from xorloom.sim.simulate import decoder as simulate_module
from xorloom.sim.simulate.cases import iid_case, model_case
from xorloom.sim.simulate.decoder import simulate_case, simulate_streams
from xorloom.sim.simulate.result import SimulationResult
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.spec import CompressSpec
from xorloom.sw.model.verify import expected_bytes, golden_codes
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.layout import Header
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.orders import ORDERS
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.plane import encode_value, value_frames

from tests.helpers.weights import clustered_weights

W_NARROW = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32)
W_EQUAL = WindowConfig(n_in=32, n_out=128, window=128, shared=32, frame=16, bus_bits=32)
W_WIDE = WindowConfig(n_in=64, n_out=128, window=128, shared=32, frame=16, bus_bits=32)
W_PATCH = WindowConfig(
    n_in=32,
    n_out=128,
    window=64,
    own_taps=3,
    shared_taps=0,
    shared=0,
    frame=16,
    patches=1,
    bus_bits=64,
)
WINDOWS = {"narrow": W_NARROW, "equal": W_EQUAL, "wide": W_WIDE, "patch": W_PATCH}
"""n_in below, equal to and above the bus, and one with patches."""
SLOW = ("equal", "wide")
"""Builds of their own that the others leave little to find for: make test-all."""


def few(names: Iterable[str]) -> list[Any]:
    """Mark those of :data:`SLOW`."""
    marks = {True: pytest.mark.slow, False: ()}
    return [pytest.param(name, marks=marks[name in SLOW]) for name in names]


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


@pytest.mark.build
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


@pytest.mark.build
@pytest.mark.parametrize("name", few(WINDOWS))
def test_window_decoder_recovers_from_reset_mid_stream(name: str) -> None:
    config, streams = window_set(name)
    after = [1, 2, 3, 5, 8, 11, 17, 24, 33, 47, 80, 121]
    result = simulate_streams(streams, config, reset_after=after)
    assert isinstance(result, SimulationResult), result
    assert result.bits_checked == counted_bits(streams, config)


@pytest.mark.build
def test_window_decoder_recovers_from_reset_while_stalled() -> None:
    config, streams = window_set("narrow")
    how = {"source": "random", "sink": "slow", "seed": 7}
    result = simulate_streams(streams[1:], config, reset_after=[5, 13, 29, 60, 111], **how)
    assert isinstance(result, SimulationResult), result


@pytest.mark.build
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


@pytest.mark.build
@pytest.mark.parametrize("wrong", [1, 63])
def test_window_tuser_mismatch_is_reported(wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [*window_streams(W_NARROW, 640), *window_streams(W_NARROW, 1000)]  # 1000 % 64 is 40
    counts = iter([64, wrong])
    monkeypatch.setattr(simulate_module, "_valid_bits", lambda data, config: next(counts))
    result = simulate_streams(streams, W_NARROW)
    assert result == f"stream 1: tuser 40, expected {wrong}"


@pytest.mark.build
def test_window_packet_of_another_length_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    original = expected_bytes
    monkeypatch.setattr(simulate_module, "expected_bytes", lambda *a: original(*a) + b"\0" * 8)
    result = simulate_streams(window_streams(W_NARROW, 640), W_NARROW)
    assert result == "stream 0: packet of 80 bytes, expected 88"


@pytest.mark.build
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
