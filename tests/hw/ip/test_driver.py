# SPDX-License-Identifier: Apache-2.0
"""Both drivers, Python and C, on a software model of the registers and on the RTL."""

import asyncio
import ctypes
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from xorloom.hw.flow.export import component_verilog
from xorloom.hw.ip.csr import COUNTERS, MAP, Cause, identity
from xorloom.hw.ip.driver import c as driver_c
from xorloom.hw.ip.driver.c import SOURCES, CDriver, compile_driver, write_sources
from xorloom.hw.ip.driver.driver import DecoderFault, DecoderInfo, Driver, DriverError
from xorloom.hw.ip.registers import Registers
from xorloom.sim.simulate.runner import build, run
from xorloom.sw.base.errors import ConfigError, ToolError

SIZES = {"bus_bits": 64, "n_out": 256, "planes": 4, "kinds": 0x70, "network": 0xDEADBEEF}
READER = {"reader": True, "address_bits": 40, "align_bytes": 8}
FOREVER = 10**9


class Model:
    """Registers with a decoder behind: every access is a moment, a stream takes ``work`` moments.

    ``faults``: cause by address. ``log``: all accesses.
    """

    def __init__(self, work: int = 5, **changes: Any) -> None:
        sizes = {**SIZES, **READER, "queue": 4} | changes
        self.sizes, self.work = sizes, work
        self.words = identity(**sizes) | dict.fromkeys(("ADDRESS_LO", "ADDRESS_HI", "LENGTH"), 0)
        self.words |= dict.fromkeys((*COUNTERS, "IRQ_ENABLE", "CONTROL"), 0)
        self.names = {register.offset: register.name for register in MAP.values()}
        self.faults: dict[int, Cause] = {}
        self.queue: list[tuple[int, int]] = []
        self.taken: list[tuple[int, int]] = []
        self.levels: list[int] = []
        self.left = 0
        self.sticky = {"DONE": 0, "ERROR": 0, "IDLE": 0}
        self.cause = Cause.NONE
        self.log: list[tuple[str, int | None]] = []

    @property
    def busy(self) -> bool:
        return bool(self.left or self.queue)

    @property
    def interrupt(self) -> bool:
        enabled = MAP["IRQ_ENABLE"].unpack(self.words["IRQ_ENABLE"])
        return any(self.sticky[name] and enabled[name] for name in self.sticky)

    def fail(self, cause: Cause) -> None:
        self.cause = self.cause if self.sticky["ERROR"] else cause
        self.sticky["ERROR"] = 1

    def moment(self) -> None:
        before = self.busy
        self.words["CYCLES"] += before
        if self.left:
            self.left -= 1
            if not self.left:
                cause = self.faults.get(self.taken[-1][0])
                if cause is None:
                    self.sticky["DONE"] = 1
                    self.words["STREAMS"] += 1
                else:
                    self.queue.clear()
                    self.fail(cause)
        elif self.queue:
            self.taken.append(self.queue.pop(0))
            self.left = self.work
        self.sticky["IDLE"] |= before and not self.busy

    def read(self, offset: int) -> int:
        self.moment()
        name = self.names[offset]
        self.log.append((name, None))
        if name != "STATUS":
            return self.words[name]
        space = self.sizes["queue"] - len(self.queue)
        fields = self.sticky | {"BUSY": int(self.busy), "CAUSE": self.cause, "QUEUE_SPACE": space}
        return MAP["STATUS"].pack(**fields)

    def write(self, offset: int, value: int) -> None:
        self.moment()
        name = self.names[offset]
        self.log.append((name, value))
        if name == "CONTROL":
            self.control(MAP[name].unpack(value))
        elif name == "STATUS":
            for flag in self.sticky:
                self.sticky[flag] &= ~MAP[name].unpack(value)[flag]
            self.cause = self.cause if self.sticky["ERROR"] else Cause.NONE
        else:
            assert all(field.access == "rw" for field in MAP[name].fields), name
            self.words[name] = value

    def control(self, fields: dict[str, int]) -> None:
        if fields["CLEAR_COUNTERS"]:
            self.words |= dict.fromkeys(COUNTERS, 0)
        if fields["ABORT"] and self.busy:
            self.queue.clear()
            self.left = min(self.left, 3)  # what is outstanding
            self.faults[self.taken[-1][0] if self.taken else 0] = Cause.ABORTED
            self.fail(Cause.ABORTED)
        if fields["START"]:
            address = self.words["ADDRESS_HI"] << 32 | self.words["ADDRESS_LO"]
            length = self.words["LENGTH"]
            if not length or length % 8 or address % 8:
                self.fail(Cause.DESCRIPTOR)
            elif len(self.queue) == self.sizes["queue"]:
                self.fail(Cause.BUSY)
            else:
                self.queue.append((address, length))
                self.levels.append(len(self.queue))


class Blocking:
    """The Python driver as blocking calls."""

    def __init__(self, model: Model, polls: int, **options: Any) -> None:
        class Bus:
            async def read(self, offset: int) -> int:
                return model.read(offset)

            async def write(self, offset: int, value: int) -> None:
                model.write(offset, value)

        self._driver = Driver(Bus(), polls=polls, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *values: asyncio.run(getattr(self._driver, name)(*values))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_driver(tmp_path_factory.mktemp("driver_c"))


@pytest.fixture(params=["python", "c"])
def connect(request: pytest.FixtureRequest, library: Path) -> Callable[..., Any]:
    """Return a function that puts a driver on a model; the driver has looked at the ID."""

    def make(model: Model, polls: int = 1000) -> Any:
        if request.param == "python":
            driver: Any = Blocking(model, polls)
        else:
            driver = CDriver(library, model.read, model.write, polls=polls)
        driver.probe()
        return driver

    return make


def streams(count: int) -> list[tuple[int, int]]:
    return [(0x12_3456_0000 + 0x1000 * n, 8 * (n + 1)) for n in range(count)]


def test_driver_probe_tells_how_the_decoder_was_built(connect: Callable[..., Any]) -> None:
    expected = DecoderInfo(**SIZES, reader=True, address_bits=40, align_bytes=8, queue=4)
    assert connect(Model()).probe() == expected
    bare = connect(Model(reader=False, bus_bits=512)).probe()
    assert (bare.reader, bare.bus_bits, bare.address_bits, bare.queue) == (False, 512, 0, 0)


@pytest.mark.parametrize("word", [0, 0xFFFFFFFF, 0x00024C58, 0x00014C59])
def test_driver_refuses_another_device(connect: Callable[..., Any], word: int) -> None:
    driver = connect(model := Model())
    model.words["ID"] = word
    with pytest.raises(DriverError, match="no xorloom decoder of"):
        driver.probe()


@pytest.mark.parametrize("work", [1, 9, 40])
def test_driver_decodes_all_and_keeps_the_queue_full(
    connect: Callable[..., Any], work: int
) -> None:
    driver = connect(model := Model(work))
    for _ in range(2):
        assert driver.decode(streams(13)) == 13
    assert model.taken == streams(13) * 2
    assert not model.busy
    assert not any(model.sticky.values())
    if work == 40:
        assert model.levels.count(4) >= 2 * 8
    assert driver.counters() == {name.lower(): model.words[name] for name in COUNTERS}
    assert model.words["STREAMS"] == 26
    driver.clear_counters()
    assert driver.counters()["streams"] == 0
    assert driver.decode([]) == 0


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


@pytest.mark.parametrize("cause", [Cause.HEADER, Cause.CRC, Cause.DECERR])
@pytest.mark.parametrize("at", [0, 3, 11])
def test_driver_tells_a_fault_and_the_next_decode_works(
    connect: Callable[..., Any], cause: Cause, at: int
) -> None:
    driver = connect(model := Model(9))
    model.faults = {streams(12)[at][0]: cause}
    with pytest.raises(DecoderFault, match=r"decoder stopped after \d+ starts: ") as caught:
        driver.decode(streams(12))
    assert caught.value.cause == cause
    assert not model.busy
    assert not any(model.sticky.values())
    model.faults.clear()
    model.taken.clear()
    assert driver.decode(streams(3)) == 3
    assert model.taken == streams(3)


def test_driver_tells_a_refusal(connect: Callable[..., Any]) -> None:
    driver = connect(model := Model(FOREVER))
    for stream in [*streams(6), (0, 8)]:
        driver.start(*stream)
    with pytest.raises(DecoderFault, match="decoder stopped: BUSY, start refused: descriptor"):
        driver.wait()
    driver.abort()
    assert not model.busy
    with pytest.raises(DecoderFault, match="after 1 starts: DESCRIPTOR, start refused: length 0"):
        driver.decode([(0, 0)])


@pytest.mark.parametrize(
    ("address", "length"), [(1 << 40, 8), ((1 << 40) - 8, 16), (1 << 63, 8), ((1 << 40) - 1, 2)]
)
def test_driver_refuses_what_lies_outside_the_address_space(
    connect: Callable[..., Any], address: int, length: int
) -> None:
    driver = connect(model := Model())
    before = len(model.log)
    with pytest.raises(ConfigError, match="must"):
        driver.start(address, length)
    assert len(model.log) == before
    with pytest.raises(ConfigError, match="must"):
        driver.decode([*streams(2), (address, length)])
    assert not model.busy


def test_driver_starts_the_last_bytes_of_the_address_space(connect: Callable[..., Any]) -> None:
    for bits in (40, 64, 32):
        driver = connect(model := Model(address_bits=bits))
        last = ((1 << bits) - 8, 8)
        assert driver.decode([last]) == 1
        assert model.taken == [last]
        assert ("ADDRESS_HI", 0) not in model.log


def test_driver_gives_up_a_decoder_that_hangs(connect: Callable[..., Any]) -> None:
    driver = connect(model := Model(FOREVER), polls=20)
    driver.start(0, 8)
    with pytest.raises(DriverError, match="still busy after 20"):
        driver.wait()
    driver.abort()
    assert not model.busy
    with pytest.raises(DriverError, match=r"still (busy|full) after 20"):
        driver.decode(streams(9))
    assert not model.busy


def test_driver_clear_forgets_an_error(connect: Callable[..., Any]) -> None:
    driver = connect(model := Model())
    model.fail(Cause.SLVERR)
    driver.clear()
    assert model.cause == Cause.NONE
    driver.wait()


def test_driver_of_a_decoder_without_reader_starts_nothing(library: Path) -> None:
    with pytest.raises(DriverError, match="takes no descriptors: feed its AXI4-Stream input"):
        Blocking(Model(reader=False), 9).start(0, 8)
    driver = CDriver(library, (model := Model(reader=False)).read, model.write)
    driver.probe()
    with pytest.raises(ConfigError, match="inside the address space"):
        driver.start(0, 8)


@pytest.mark.parametrize("work", range(1, 14))
def test_python_driver_sleeps_until_interrupted_and_misses_none(work: int) -> None:
    model = Model(work)
    slept = []

    async def interrupt() -> None:
        for moment in range(1000):
            if model.interrupt:
                slept.append(moment)
                return
            model.moment()
        raise AssertionError("slept too long")

    driver = Blocking(model, 50, interrupt=interrupt)
    assert driver.decode(streams(6)) == 6
    assert model.taken == streams(6)
    status = driver.status()
    assert (status.busy, status.done, status.error) == (False, False, False)
    model.faults = {streams(1)[0][0]: Cause.CRC}
    with pytest.raises(DecoderFault):
        driver.decode(streams(1))
    assert work < 5 or slept


@pytest.mark.parametrize("fails", [False, True])
def test_python_driver_sleeps_through_long_work_but_not_through_an_error(fails: bool) -> None:
    model = Model(800)
    driver = Blocking(model, 10, interrupt=lambda: sleep())

    async def sleep() -> None:
        for moment in range(1000):
            if fails and moment == 50:
                model.fail(Cause.SLVERR)  # long before the decoder stops
            if model.interrupt:
                return
            model.moment()
        raise AssertionError("slept too long")

    driver.start(0, 8)
    model.sticky["IDLE"] = 1  # left from earlier work
    if fails:
        with pytest.raises(DecoderFault, match="SLVERR"):
            driver.wait()
        assert model.busy
    else:
        driver.wait()
        assert not model.busy


def test_c_driver_enables_interrupts(library: Path) -> None:
    driver = CDriver(library, (model := Model()).read, model.write)
    driver.interrupts(MAP["IRQ_ENABLE"].pack(DONE=1, ERROR=1))
    assert model.words["IRQ_ENABLE"] == 0b110


def test_c_driver_reaches_mapped_registers(library: Path) -> None:
    words = (ctypes.c_uint32 * 64)()
    for name, word in Model().words.items():
        words[MAP[name].offset // 4] = word
    code = ctypes.CDLL(str(library))
    code.xorloom_mapped.restype = driver_c._Bus
    bus = code.xorloom_mapped(words)
    device = driver_c._Device()
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
