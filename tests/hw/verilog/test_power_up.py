# SPDX-License-Identifier: Apache-2.0
"""Power-up: two clocks of reset are enough, whatever registers and inputs were before."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.baselines.shell import BaselineShell
from xorloom.hw.block.shell import BlockShell
from xorloom.hw.direct.shell import DirectShell
from xorloom.hw.flow.export import component_verilog
from xorloom.hw.index.shell import IndexShell
from xorloom.hw.ip.top import IpBlock
from xorloom.hw.window.shell import WindowShell
from xorloom.sim.bench.baselines.config import BaselineConfig
from xorloom.sim.bench.baselines.streams import encode_baseline
from xorloom.sim.datasets import iid
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.hashed import HashedConfig
from xorloom.sw.spec.index_config import (
    BitmapConfig,
    EntropyConfig,
    IndexConfig,
    LowrankConfig,
    NoneConfig,
    TrellisConfig,
)
from xorloom.sw.spec.weight_format import WeightFormat

from tests.helpers.baselines import NAMES, unit
from tests.helpers.direct import direct_stream
from tests.helpers.index_streams import index_stream
from tests.helpers.netlist import Netlist
from tests.helpers.rtl import random_stream
from tests.helpers.weight_streams import weight_stream
from tests.helpers.window_streams import window_stream
from tests.hw.verilog.power_up import run_from_x

Made = tuple[wiring.Component, Sequence[bytes]]
"""A unit, and streams for it."""


def window(config: WindowConfig) -> Made:
    counts = (5 * config.n_out, 3 * config.n_out + 7, 1)
    streams = [window_stream(config, count, n).words for n, count in enumerate(counts)]
    size = config.bus_bytes
    joined = [b"".join(word.to_bytes(size, "little") for word in words) for words in streams]
    return WindowShell(config), joined


def block(config: BlockConfig) -> Made:
    return BlockShell(config), [random_stream(config, count, count) for count in (11, 1, 30)]


def direct(config: DirectConfig, levels: bool = False) -> Made:
    counts = (9 * config.n_out, 2 * config.n_out + config.planes)
    return DirectShell(config, levels=levels), [direct_stream(config, n, n) for n in counts]


def index(config: IndexConfig) -> Made:
    counts = (20 * config.n_out, 33 * config.n_out, 3)
    return IndexShell(config), [index_stream(config, count, count) for count in counts]


def ip(value: ValueConfig, indexes: Sequence[IndexConfig], planes: int, **options: Any) -> Made:
    formats = [WeightFormat(value, planes, index) for index in (*indexes, indexes[0])]
    streams = [weight_stream(form, 17 + n, 3, n) for n, form in enumerate(formats)]
    return IpBlock(value, indexes, planes=planes, **options), streams


def baseline(name: str, config: BaselineConfig) -> Made:
    weights = [iid(size, 0.8, config.planes, size) for size in (700, 65)]
    streams = [encode_baseline(name, mask, codes, config) for mask, codes in weights]
    return BaselineShell(unit(name, config)), streams


SMALL = WindowConfig(n_in=16, n_out=64, window=64, shared=32, frame=16, bus_bits=32)
DIRECT = DirectConfig(n_in=24, n_out=40, planes=2, window=7, bus_bits=32)
BLOCK = BlockConfig(n_in=7, n_out=41, lanes=2, patches_per_cycle=2, bus_bits=32, block_groups=2)
INDEXES: list[IndexConfig] = [
    TrellisConfig(n_in=12, n_out=64, window=8, classes=4, period=16, bus_bits=32),
    EntropyConfig(n_out=64, lanes=2, states=16, bus_bits=32),
    LowrankConfig(n_out=64, bus_bits=32),
    HashedConfig(n_out=64, bus_bits=32),
    NoneConfig(n_out=64, bus_bits=32),
    BitmapConfig(n_out=64, bus_bits=32),
]
CHECKED: dict[str, Callable[[], Made]] = {
    "ip": partial(ip, SMALL, INDEXES, 1, reader=True),
    "stream-ip": partial(
        ip, DIRECT, [NoneConfig(n_out=20, bus_bits=32)], 2, levels=True, masked=False
    ),
    "window": partial(
        window, WindowConfig(n_in=32, n_out=64, window=64, frame=16, patches=1, bus_bits=32)
    ),
    "block": partial(block, BLOCK),
    **{
        name: partial(baseline, name, BaselineConfig(bus_bits=32, n_out=64, planes=1, lanes=4))
        for name in NAMES
    },
}
"""Every unit, once."""
WIDE = WindowConfig(n_in=256, n_out=2048, window=2048, shared=1024, bus_bits=512)
LARGE: dict[str, Callable[[], Made]] = {
    "ip by default": partial(ip, WindowConfig(), [TrellisConfig()], 1, reader=True),
    "ip, wide": partial(
        ip,
        WIDE,
        [EntropyConfig(n_out=256, lanes=32, bus_bits=512)],
        8,
        reader=True,
        address_bits=64,
        outstanding=8,
        max_burst=16,
    ),
    "stream-ip, aligned": partial(ip, SMALL, INDEXES[:2], 1),
    "ip, aligned": partial(ip, SMALL, INDEXES[-1:], 1, reader=True, align_bytes=4, outstanding=1),
    "window by default": partial(window, WindowConfig()),
    "window, wide": partial(window, WIDE),
    "window, narrow": partial(
        window, WindowConfig(n_in=8, n_out=64, window=64, shared=0, shared_taps=0, bus_bits=32)
    ),
    "block by default": partial(block, BlockConfig()),
    "block, least": partial(block, BlockConfig(n_in=1, n_out=1, lanes=1, bus_bits=32)),
    "direct by default": partial(direct, DirectConfig()),
    "direct, levels": partial(direct, DIRECT, levels=True),
    "direct, narrow": partial(direct, DirectConfig(n_in=2, n_out=3, planes=1, window=16)),
    **{
        f"{config.codec} by default": partial(index, config)
        for config in (
            TrellisConfig(),
            EntropyConfig(),
            LowrankConfig(),
            HashedConfig(),
            NoneConfig(),
            BitmapConfig(),
        )
    },
    "entropy, 64 lanes": partial(index, EntropyConfig(n_out=512, lanes=64, bus_bits=512)),
    **{f"{name} by default": partial(baseline, name, BaselineConfig()) for name in NAMES},
}
"""Default sizes, and sizes at the ends of what can be had."""
icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus is not installed")


def netlist(component: wiring.Component, folder: Path) -> Netlist:
    return Netlist(component_verilog(component, "top"), "top", folder)


def check(make: Callable[[], Made], folder: Path) -> None:
    """Check that no register that feeds itself is without a reset, then run from X."""
    component, streams = make()
    found = netlist(component, folder)
    assert found.unreset_loop(found.known_after_reset()) == []
    said = run_from_x(found, "top", streams, folder)
    assert said == f"{len(streams)} of {len(streams)} streams came out"


@pytest.mark.long
@pytest.mark.parametrize("name", CHECKED)
def test_every_register_that_feeds_itself_is_reset(name: str, tmp_path: Path) -> None:
    found = netlist(CHECKED[name]()[0], tmp_path)
    assert found.unreset_loop(found.known_after_reset()) == []


class Toggle(wiring.Component):
    """A register that toggles itself, and one that holds what the other was."""

    def __init__(self, reset_less: bool) -> None:
        self._reset_less = reset_less
        super().__init__({"i": In(1), "o": Out(2)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        toggles = Signal(reset_less=self._reset_less)
        holds = Signal(reset_less=True)
        m.d.sync += toggles.eq(toggles ^ self.i)
        with m.If(self.i):
            m.d.sync += holds.eq(toggles)
        m.d.comb += self.o.eq(toggles + holds)
        return m


def test_a_register_that_toggles_itself_is_found(tmp_path: Path) -> None:
    found = netlist(Toggle(reset_less=True), tmp_path)
    assert found.unreset_loop(found.known_after_reset()) == ["toggles[0]"]
    found = netlist(Toggle(reset_less=False), tmp_path)
    known = found.known_after_reset()
    assert (len(known), found.unreset_loop(known)) == (1, [])


@icarus
@pytest.mark.build
def test_ip_decodes_from_x(tmp_path: Path) -> None:
    check(LARGE["ip, aligned"], tmp_path)


@icarus
@pytest.mark.slow
@pytest.mark.parametrize("name", [*CHECKED, *LARGE])
def test_unit_decodes_from_x(name: str, tmp_path: Path) -> None:
    check((CHECKED | LARGE)[name], tmp_path)
