# SPDX-License-Identifier: Apache-2.0
"""The C driver: its sources, its accesses, and both drivers on the RTL."""

import ctypes
import random
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from xorloom.hw.flow.export import component_verilog
from xorloom.hw.ip.csr import MAP, Cause
from xorloom.hw.ip.driver import c as driver_c
from xorloom.hw.ip.driver.c import SOURCES, CDriver, compile_driver, write_sources
from xorloom.hw.ip.driver.driver import DecoderFault, DecoderInfo
from xorloom.hw.ip.registers import Registers
from xorloom.sim.simulate.runner import build, run
from xorloom.sw.base.errors import ToolError
from xorloom.sw.golden.output import weight_output
from xorloom.sw.golden.weights import WeightBeat
from xorloom.sw.spec.layout import BEATS, BeatLayout

from tests.hw.ip.driver_model import Blocking, Model, streams
from tests.hw.ip.register_bus import READER, SIZES


def test_drivers_make_the_same_accesses(library: Path) -> None:
    logs = []
    for kind in (0, 1):
        model = Model(30)
        model.faults = {streams(9)[5][0]: Cause.CRC}
        driver: Any = Blocking(model, 999)
        if kind:
            driver = CDriver(library, model.read, model.write, polls=999)
        driver.probe()
        driver.decode(streams(5))
        with pytest.raises(DecoderFault):
            driver.decode(streams(9))
        driver.start(*streams(1)[0])
        driver.wait()
        driver.abort()
        driver.counters()
        logs.append(model.log)
    assert logs[0] == logs[1]


def test_c_driver_enables_interrupts(library: Path) -> None:
    driver = CDriver(library, (model := Model()).read, model.write)
    driver.interrupts(MAP["IRQ_ENABLE"].pack(DONE=1, ERROR=1))
    assert model.words["IRQ_ENABLE"] == 0b110


@pytest.mark.parametrize("form", BEATS)
@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize(("n_out", "planes"), [(64, 1), (128, 2), (192, 3), (63, 3), (512, 3)])
def test_c_driver_finds_weights_in_what_a_dma_engine_stores(
    n_out: int, planes: int, levels: bool, form: str, library: Path
) -> None:
    layout = BeatLayout(n_out, planes, levels, form)
    code = ctypes.CDLL(str(library))
    code.xorloom_stored_bytes.restype = ctypes.c_size_t
    device = driver_c.CDevice(n_out=n_out, planes=planes, levels=levels, planar=not layout.packed)
    rng = random.Random(1)
    table = [rng.randrange(-128, 128) for _ in range(1 << planes)]
    for weights in (1, 8, 9, layout.lanes, layout.lanes + 1, 2 * layout.lanes + 17):
        codes = [rng.getrandbits(planes) for _ in range(weights)]
        masks = [rng.getrandbits(1) for _ in range(weights)]
        beats = []
        for at in range(0, weights, layout.lanes):
            end = min(weights, at + layout.lanes)
            bits = sum(codes[k] << (k - at) * planes for k in range(at, end))
            mask = sum(masks[k] << k - at for k in range(at, end))
            valid = n_out if end == at + layout.lanes else (end - at) * planes
            beats.append(WeightBeat(bits, mask, valid, end == weights))
        stored = bytes(
            beat.data >> 8 * at & 255
            for beat in weight_output(layout, beats, table)
            for at in range(layout.bytes)
            if beat.keep >> at & 1
        )
        size = code.xorloom_stored_bytes(ctypes.byref(device), ctypes.c_size_t(weights))
        assert size == len(stored)
        found, value = [], ctypes.c_int32()
        for k in range(weights):
            place = ctypes.c_size_t(k)
            kept = code.xorloom_weight(ctypes.byref(device), stored, place, ctypes.byref(value))
            found.append((kept, value.value))
        means = [table[c] for c in codes] if levels else codes
        assert found == list(zip(masks, means, strict=True))


def test_c_driver_reaches_mapped_registers(library: Path) -> None:
    words = (ctypes.c_uint32 * 64)()
    for name, word in Model().words.items():
        words[MAP[name].offset // 4] = word
    code = ctypes.CDLL(str(library))
    code.xorloom_mapped.restype = driver_c.CBus
    bus = code.xorloom_mapped(words)
    device = driver_c.CDevice()
    assert code.xorloom_probe(ctypes.byref(device), ctypes.byref(bus)) == 0
    assert (device.bus_bits, device.network) == (64, 0xDEADBEEF)
    code.xorloom_interrupts(ctypes.byref(device), 4)
    assert words[MAP["IRQ_ENABLE"].offset // 4] == 4


def test_c_driver_has_no_offsets_of_its_own(tmp_path: Path) -> None:
    for source in SOURCES:
        assert not re.search(r"0x[0-9a-fA-F]", source.read_text()), source.name
        assert source.read_text().startswith("/* SPDX-License-Identifier: Apache-2.0 */\n")
    write_sources(tmp_path)
    names = {"xorloom.h", "xorloom.c", "xorloom_registers.h"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_compile_driver_names_what_is_missing_or_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(driver_c, "FLAGS", ("-std=c99", "-Werror", "-DXORLOOM_ID=1"))
        with pytest.raises(ToolError, match=r"(?s)^gcc .* failed: .*XORLOOM_ID"):
            compile_driver(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(ToolError, match="gcc is missing: apt-get install gcc"):
        compile_driver(tmp_path)


@pytest.mark.slow  # a Verilator build
@pytest.mark.parametrize("pauses", ["none", "random"])
@pytest.mark.parametrize("kind", ["python", "python_interrupt", "c"])
def test_driver_works_on_the_rtl(kind: str, pauses: str, library: Path) -> None:
    built = build(component_verilog(Registers(**SIZES, **READER), "registers"), "registers")
    calls = [
        [(8 * n, 8 * (1 + 40 * (n % 3))) for n in range(1, 12)],
        [(0x100, 800), (0x1000, 400), (0x200, 8), (0x300, 8), (0x400, 800), (0x500, 800)],
        [(0xFF_FFFF_FFF8, 8)],
        [(0x600, 12)],
        [(0x700, 8)] * 9,
    ]
    job = {
        "pauses": pauses,
        "seed": 7,
        "interrupt": kind == "python_interrupt",
        "faults": [(0x1000, int(Cause.CRC))],
        "calls": calls,
        "library": str(library),
    }
    test = "c_driver_decodes" if kind == "c" else "python_driver_decodes"
    result = run(built, "xorloom.sim.testbenches.registers", test, job)
    assert "failure" not in result, result["failure"]
    info = DecoderInfo(**SIZES, reader=True, address_bits=40, align_bytes=8, queue=4)
    assert result["info"] == asdict(info)
    assert result["ends"] == [11, "CRC", 1, "DESCRIPTOR", 9]
    taken = [tuple(pair) for pair in result["taken"]]
    assert taken[:13] == [*calls[0], *calls[1][:2]]
    assert taken[-10:] == [*calls[2], *calls[4]]
    assert result["counters"]["streams"] >= 11 + 1 + 1 + 9
    assert result["counters"]["words"] >= sum(n for _, n in calls[0]) // 8
    assert set(result["cleared"].values()) == {0}
