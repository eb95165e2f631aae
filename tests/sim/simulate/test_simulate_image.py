# SPDX-License-Identifier: Apache-2.0
"""``xorloom simulate`` of the IP block and the index decoder on a compressed model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xorloom.sim.simulate.packets as packets_module
from xorloom.sim.simulate.ip import simulate_image
from xorloom.sim.simulate.packets import Packet
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.memory.image import memory_image
from xorloom.sw.model.container import read_container
from xorloom.sw.model.reports.inspect import tensor_steps

from tests.helpers.cli import refuses, xorloom
from tests.helpers.weights import clustered_weights

DECODER = ["--n-in", 16, "--n-out", 64, "--window", 64, "--frame", 16, "--bus-bits", 32]
V, W = 64 * 40, 70 * 90 + 3
"""Weights: of whole slices, and ending within one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulate_image")
    w = np.append(clustered_weights(70, 90, 1).reshape(-1), np.float32([1, 2, 3])).reshape(-1, 3)
    np.savez(folder / "model.npz", v=clustered_weights(64, 40, 2), w=w)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """Two bits per weight and a bitmap; all quick tests share this decoder's build."""
    out = folder / "bitmap.safetensors"
    options = ("--index", "bitmap", "--planes", 2, "--sparsity", 0.7, "--min-size", 100)
    xorloom("compress", folder / "model.npz", "-o", out, *options, *DECODER)
    return out


@pytest.mark.slow
def test_simulate_ip_reads_a_model_out_of_memory(model: Path) -> None:
    out, _ = xorloom("simulate", model, "--unit", "ip", "-t", "w", "-t", "v", "--json")
    row = json.loads(out)
    container = read_container(model)
    image = memory_image(container, ["w", "v"], align_bytes=4)
    steps = sum(tensor_steps(container, name) for name in ("w", "v"))
    measured = {
        name: row.pop(name)
        for name in ("cycles", "bus_utilisation", "cycles_to_model", "weights_per_cycle")
    }
    assert row == {
        "command": f"xorloom simulate {model} --unit ip -t w -t v",
        "case": "2 tensors of bitmap.safetensors",
        "unit": "ip",
        "index": "bitmap",
        "bus_bits": 32,
        "memory": "ideal",
        "clock_mhz": 100.0,
        "weights": V + W,
        "beats": V // 32 + -(-W // 32),
        "bit_exact": True,
        "bus_words": len(image.data) // 4,
        "model_cycles": max(len(image.data) // 4, steps),
        "stall_cycles": {"memory": 0, "blocked": row["stall_cycles"]["blocked"], "output": 0},
    }
    assert row["model_cycles"] <= measured["cycles"] < 1.1 * row["model_cycles"] + 60
    assert measured["cycles_to_model"] == measured["cycles"] / row["model_cycles"]
    assert measured["weights_per_cycle"] == (V + W) / measured["cycles"]
    assert 0.8 < measured["bus_utilisation"] < 1


@pytest.mark.slow
def test_simulate_ip_takes_the_largest_tensor_and_a_slow_memory(model: Path) -> None:
    options = ("--memory", "sdr-133", "--clock", 250, "--sink", "random")
    out, _ = xorloom("simulate", model, "--unit", "ip", *options)
    text = " ".join(out.split())
    assert "case w" in text
    assert f"all of {W:,} weights in {-(-W // 32)} beats, all equal" in text
    assert "memory sdr-133, decoder at 250 MHz" in text
    row = simulate_image(model, [], memory="sdr-133", clock_mhz=250, sink="random")
    assert row["stall_cycles"]["memory"] > 0.2 * row["cycles"]
    assert row["stall_cycles"]["output"] > 0


@pytest.mark.slow
def test_simulate_ip_reports_a_mismatch(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packet_of = packets_module.packet_of

    def corrupted(*given: Any, **how: Any) -> tuple[Packet, int]:
        packet, bits = packet_of(*given, **how)
        wrong = bytearray(packet.data)
        wrong[1] ^= 4
        return replace(packet, data=bytes(wrong)), bits

    monkeypatch.setattr(packets_module, "packet_of", corrupted)
    out, _ = xorloom("simulate", model, "--unit", "ip", "-t", "v", "--json", code=1)
    row = json.loads(out)
    assert not row["bit_exact"]
    assert row["mismatch"].startswith("stream 0: beat 0 bit 10: expected ")
    assert "cycles" not in row
    table, _ = xorloom("simulate", model, "--unit", "ip", "-t", "v", code=1)
    assert "NOT BIT-EXACT" in table
    assert "stream 0: beat 0 bit 10" in table


@pytest.mark.slow
def test_simulate_stream_ip_stores_the_weights_of_a_model(model: Path) -> None:
    options = ("--unit", "stream-ip", "-t", "w", "-t", "v")
    out, _ = xorloom("simulate", model, *options, "--json")
    row = json.loads(out)
    assert (row["unit"], row["bit_exact"], row["memory"]) == ("stream-ip", True, "ideal")
    assert (row["weights"], row["beats"]) == (V + W, V // 32 + -(-W // 32))
    assert row["stall_cycles"]["output"] == 0
    assert row["model_cycles"] <= row["cycles"] < 1.1 * row["model_cycles"] + 60
    stalls = ("--source", "random", "--sink", "bursts", "--beats", "planar")
    table, _ = xorloom("simulate", model, *options, *stalls)
    text = " ".join(table.split())
    assert f"all of {V + W:,} weights in {row['beats']} beats, all equal" in text
    assert "decoder stream-ip, bitmap index" in text
    slow = simulate_image(model, ["v"], unit="stream-ip", memory="sdr-133", clock_mhz=250)
    assert slow["bit_exact"], slow["mismatch"]
    assert slow["stall_cycles"]["source"] > 0.2 * slow["cycles"]


@pytest.mark.slow  # a build for each unit
@pytest.mark.parametrize("unit", ["ip", "stream-ip", "decoder"])
def test_simulate_puts_out_levels(unit: str, folder: Path) -> None:
    out = folder / f"direct-{unit}.safetensors"
    options = ("--value", "direct", "--rate", 2, "--bus-bits", 32, "--min-size", 100)
    xorloom("compress", folder / "model.npz", "-o", out, *options)
    text, _ = xorloom("simulate", out, "--unit", unit, "-t", "w", "--levels", "--json")
    assert json.loads(text)["bit_exact"]


@pytest.mark.slow
def test_simulate_index_checks_the_masks_of_a_model(model: Path) -> None:
    out, _ = xorloom("simulate", model, "--unit", "index", "-t", "v", "--json")
    row = json.loads(out)
    assert (row["case"], row["unit"], row["index"], row["bit_exact"]) == (
        "v",
        "index",
        "bitmap",
        True,
    )
    assert (row["bits_checked"], row["weights"], row["beats"]) == (V, V, V // 32)
    table, _ = xorloom("simulate", model, "--unit", "index", "-t", "v")
    assert f"{V:,} in {V // 32} beats, all equal" in " ".join(table.split())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--unit", "ip", "--source", "slow"], "--source does not go with --unit ip: the memory"),
        (["--unit", "ip", "--sink", "foo"], "sink pattern must be none, random, bursts, slow"),
        (["--unit", "index", "--source", "foo"], "source pattern must be none"),
        (["--unit", "ip", "--waves", "a.lxt"], "a waveform's name ends in .fst or .vcd"),
        (["--unit", "ip", "--waves-cycles", 9], "--waves-cycles needs --waves"),
        (["--unit", "ip", "--iid", 0.9], "--iid does not go with a compressed model"),
        (["--unit", "ip", "--memory", "tape"], "memory must be one of"),
        (["--unit", "ip", "--clock", 0], "clock must be positive, not 0.0 MHz"),
        (["--unit", "ip", "-t", "x"], "no compressed tensor 'x'"),
        (["--unit", "ip", "-t", "w", "-t", "w"], "tensor 'w' is asked for more than once"),
        (["--unit", "index", "--memory", "ideal"], "--memory does not go with --unit index"),
        (["--unit", "ip", "--timeline"], "--timeline does not go with --unit ip"),
        (["--unit", "index", "--levels"], "--levels does not go with --unit index"),
        (["--unit", "index", "--beats", "planar"], "--beats does not go with --unit index"),
        (["--beats", "planar"], "--beats does not go with --unit decoder"),
        (["--unit", "ip", "--beats", "wide"], "beats must be packed or planar, not 'wide'"),
        (["--unit", "ip", "--levels"], "only the direct value codec has levels, not window"),
        (["--unit", "stream-ip", "--memory", "ideal", "--source", "slow"], "either a memory or a"),
        (["--unit", "stream-ip", "--timeline"], "--timeline does not go with --unit stream-ip"),
        (["--unit", "weights"], "unit must be decoder, ip or stream-ip or index, not 'weights'"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_simulate_refuses_options(options: list[object], text: str, model: Path) -> None:
    refuses(text, "simulate", model, *options)


@pytest.mark.parametrize("unit", ["ip", "index"])
def test_simulate_with_an_index_needs_a_window_model(unit: str, folder: Path) -> None:
    refuses(f"--unit {unit} simulates a compressed model: name one", "simulate", "--unit", unit)
    out = folder / "block.safetensors"
    options = ("--value", "block", "--n-in", 8, "--n-out", 30, "--min-size", 100)
    xorloom("compress", folder / "model.npz", "-o", out, "--sparsity", 0.8, *options)
    text = {
        "ip": "the block codec has no weight streams",
        "index": "--unit index needs the window or direct value codec, not block",
    }[unit]
    refuses(text, "simulate", out, "--unit", unit)


def test_simulate_image_refuses_a_tensor_without_weights(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = memory_image(read_container(model), ["v"], align_bytes=4)
    empty = replace(image, regions=(replace(image.regions[0], length=0),))
    monkeypatch.setattr("xorloom.sim.simulate.ip.memory_image", lambda *_, **__: empty)
    with pytest.raises(ConfigError, match="no weights in v"):
        simulate_image(model, ["v"])


@pytest.mark.slow  # a build for each index
@pytest.mark.parametrize("index", ["trellis", "entropy", "lowrank"])
def test_simulate_ip_decodes_every_index(index: str, folder: Path) -> None:
    out = folder / f"{index}.safetensors"
    rate = [] if index == "entropy" else ["--index-bits", 0.25]
    options = ("--index", index, "--density", 0.1, *rate, "--min-size", 100)
    xorloom("compress", folder / "model.npz", "-o", out, *options, *DECODER)
    row = simulate_image(out, ["v", "w"], memory="ddr3-1600", sink="bursts")
    assert row["bit_exact"], row["mismatch"]
    assert row["index"] == index
