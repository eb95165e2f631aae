# SPDX-License-Identifier: Apache-2.0
"""Both drivers, Python and C, on a software model of the registers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xorloom.hw.ip.csr import COUNTERS, Cause
from xorloom.hw.ip.driver.c import CDriver
from xorloom.hw.ip.driver.driver import DecoderFault, DecoderInfo, DriverError
from xorloom.sw.base.errors import ConfigError

from tests.hw.ip.driver_model import FOREVER, Blocking, Model, streams
from tests.hw.ip.register_bus import SIZES


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
