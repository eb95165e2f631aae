# SPDX-License-Identifier: Apache-2.0
"""The decoder against its golden model: bus widths, index codecs, stalls, hostile densities."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from xorloom.hw.ip.decoder import WeightDecoder
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.golden.weights import weight_decoder
from xorloom.sw.index.entropy import stream as index_entropy
from xorloom.sw.memory.weight_stream import join_streams
from xorloom.sw.spec.config import WindowConfig
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

from tests.helpers.decoder import BITMAP, VALUE, words_of
from tests.helpers.index_streams import index_stream
from tests.helpers.rtl import drive, unit
from tests.helpers.weight_streams import weight_stream
from tests.helpers.window import random_seeds, window_frame

# Few taps: nothing here is about the network, and it is what simulation takes longest for.
PLAIN = {"shared_taps": 1, "shared": 32, "parity_taps": 2, "frame": 16}


def value_config(bus: int, **changes: int) -> WindowConfig:
    return WindowConfig(
        **({"n_in": 16, "n_out": 64, "window": 128, "bus_bits": bus} | PLAIN | changes)
    )


def index_config(name: str, lanes: int, bus: int) -> IndexConfig:
    """A small build of a codec; lanes need not be a multiple of anything but for the entropy's."""
    if name == "entropy":
        return EntropyConfig(n_out=lanes, lanes=2, states=16, bus_bits=bus)
    if name == "lowrank":
        return LowrankConfig(n_out=lanes, tile_slices=3, tile_lanes=5, bus_bits=bus)
    if name == "bitmap":
        return BitmapConfig(n_out=lanes, bus_bits=bus)
    if name == "hashed":
        return HashedConfig(n_out=lanes, threshold=99, bus_bits=bus)
    if name == "none":
        return NoneConfig(n_out=lanes, bus_bits=bus)
    classes = {"trellis": 1, "classes": 4, "wide": 1}[name]
    n_in = lanes if name == "wide" else 11
    return TrellisConfig(n_in=n_in, n_out=lanes, window=8, classes=classes, period=16, bus_bits=bus)


def check(
    value: WindowConfig,
    names: Sequence[str],
    planes: int,
    streams: Sequence[tuple[WeightFormat, bytes]],
    *,
    masked: bool = True,
    stalls: Sequence[tuple[float, float]] = ((0.0, 0.0),),
    seed: int = 1,
) -> list[int]:
    """Decode streams of a decoder's formats under stalls; return the clocks each run took."""
    lanes = value.n_out // planes
    indexes = tuple(index_config(name, lanes, value.bus_bits) for name in names)
    words = []
    expected = []
    for form, data in streams:
        text = words_of(data, value.bus_bits)
        words += [
            {"data": word, "last": k == len(text) - 1, "error": 0} for k, word in enumerate(text)
        ]
        expected += weight_decoder(form, data, masked=masked)
    clocks = []
    for source, sink in stalls:
        dut = unit(WeightDecoder, value, indexes, planes=planes, masked=masked)
        run = drive(dut, words, len(expected), source=source, sink=sink, seed=seed)
        for number, (got, want) in enumerate(zip(run.items, expected, strict=True)):
            bits = (1 << want.valid_bits) - 1
            kept = (1 << want.valid_bits // planes) - 1 if want.valid_bits < value.n_out else -1
            found = (got.codes & bits, got.mask & kept, got.valid_bits, bool(got.last), got.bad)
            wanted = (want.codes & bits, want.mask & kept, want.valid_bits, want.last, 0)
            assert found == wanted, f"beat {number}"
        clocks.append(run.out_at[-1])
    return clocks


def formats(value: WindowConfig, names: Sequence[str], planes: int) -> list[WeightFormat]:
    lanes = value.n_out // planes
    return [WeightFormat(value, planes, index_config(n, lanes, value.bus_bits)) for n in names]


def random_streams(
    forms: Sequence[WeightFormat], sizes: Sequence[int], seed: int
) -> list[tuple[WeightFormat, bytes]]:
    """Streams of so many slices, of each format in turn, the last slice full or not."""
    rng = random.Random(seed)
    found = []
    for number, size in enumerate(sizes):
        form = forms[number % len(forms)]
        tail = rng.choice([form.value.n_out // form.planes, 1, 7])
        found.append((form, weight_stream(form, size, tail, seed + number)))
    return found


CODECS = ("trellis", "classes", "bitmap", "lowrank", "wide", "none", "hashed")


@pytest.mark.long
@pytest.mark.parametrize(
    ("bus", "names", "planes"),
    [
        (32, ("trellis", "bitmap"), 1),
        (64, ("entropy", "none"), 2),
        (128, ("lowrank", "classes", "hashed"), 3),
    ],
)
def test_decoder_decodes_what_the_golden_model_does(
    bus: int, names: tuple[str, ...], planes: int
) -> None:
    value = value_config(bus)
    streams = random_streams(formats(value, names, planes), (5, 1, 20, 1, 2), bus)
    check(value, names, planes, streams, stalls=((0.0, 0.0), (0.3, 0.4)))


GROUPS = (*((name,) for name in CODECS), ("entropy",), CODECS[1:4])


@pytest.mark.slow
@pytest.mark.parametrize("names", GROUPS)
@pytest.mark.parametrize("bus", [32, 64, 128, 256, 512])
def test_decoder_decodes_under_stalls(bus: int, names: tuple[str, ...]) -> None:
    planes = (bus // 32 + GROUPS.index(names)) % 3 + 1
    if "entropy" in names and planes == 3:
        planes = 4  # its lanes are a multiple of 16 here
    value = value_config(bus, n_in=(16, 32, 64, 16)[planes - 1])
    streams = random_streams(formats(value, names, planes), (5, 1, 40, 1, 2, 17, 1, 1, 1), bus)
    stalls = ((0.0, 0.0), (0.6, 0.0), (0.0, 0.8), (0.4, 0.4))
    check(value, names, planes, streams, stalls=stalls, masked=planes != 2)


def steep_values(form: WeightFormat, slices: int, pattern: str, seed: int) -> bytes:
    """Make a value stream whose frames have the lowest or the highest rate."""
    config = form.value
    rng = np.random.default_rng(seed)
    top = (1 << config.rate_bits) - 1
    steep = {"flat": [0], "steep": [top], "turns": [0, top], "ramp": [0, 0, top, 1]}[pattern]
    rates = [steep[f % len(steep)] for f in range(-(-slices // config.frame))]
    flips = {s: s % config.n_out for s in range(0, slices, 3)} if config.patches else None
    number, chunks = random_seeds(config, slices, rng, rates, flips)
    return window_frame(config, number, chunks, slices * config.n_out)


def clustered_index(index: IndexConfig, slices: int, pattern: str, seed: int) -> bytes:
    """Make an index stream; that of the entropy codec has few kept weights but in some slices."""
    if not isinstance(index, EntropyConfig):
        return index_stream(index, slices * index.n_out, seed)
    rng = np.random.default_rng(seed)
    share = {"flat": [0.5], "steep": [0.0], "turns": [0.0, 0.95], "ramp": [0.9, 0.9, 0.0, 0.5]}[
        pattern
    ]
    density = [share[s // 16 % len(share)] for s in range(slices)]
    mask = rng.random((slices, index.n_out)) < np.array(density)[:, None]
    mask[slices // 2] |= True
    return index_entropy.pack(index_entropy.encode(mask, index), slices * index.n_out, index)


def hostile(
    value: WindowConfig, name: str, slices: int, pattern: str, clusters: str
) -> tuple[WeightFormat, bytes]:
    form = formats(value, (name,), 1)[0]
    values = steep_values(form, slices, pattern, 3)
    return form, join_streams(values, clustered_index(form.index, slices, clusters, 4), form)[0]


@pytest.mark.long
@pytest.mark.parametrize("name", ["trellis", "entropy"])
def test_decoder_never_waits_for_words_that_come_later(name: str) -> None:
    """A slice that takes a whole window of its own, and an index of a few bits per slice."""
    value = value_config(32, window=1024, n_in=32)
    streams = [hostile(value, name, 40, "turns", "turns")]
    check(value, (name,), 1, streams, stalls=((0.0, 0.3),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "clusters"), [("turns", "ramp"), ("steep", "steep"), ("flat", "turns")]
)
@pytest.mark.parametrize("name", [*CODECS, "entropy"])
@pytest.mark.parametrize(
    ("bus", "changes"),
    [
        (32, {"window": 2048, "n_in": 32}),
        (32, {"window": 2048, "n_in": 256}),
        (32, {"window": 512, "n_in": 64, "patches": 1}),
        (32, {"window": 512, "n_in": 32, "n_out": 512}),
        (512, {"window": 512, "n_in": 256}),
    ],
)
def test_decoder_never_waits_for_words_that_come_later_in_any_codec(
    bus: int, changes: dict[str, int], name: str, pattern: str, clusters: str
) -> None:
    value = value_config(bus, **changes)
    streams = [hostile(value, name, 40, pattern, clusters)] * 2
    check(value, (name,), 1, streams, stalls=((0.0, 0.3),))


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_decoder_refuses_what_does_not_go_together() -> None:
    for index in (BitmapConfig(n_out=63, bus_bits=32), BitmapConfig(n_out=64, bus_bits=64)):
        with pytest.raises(ConfigError, match="index n_out and bus_bits must be 64 and 32 for"):
            WeightDecoder(VALUE, [index], planes=1)
    with pytest.raises(ConfigError, match="planes must be between 1 and 64, not 65"):
        WeightDecoder(VALUE, [BITMAP], planes=65)
    with pytest.raises(ConfigError, match=r"index codec must be one of bitmap, .*, not window"):
        WeightDecoder(VALUE, [VALUE], planes=1)  # type: ignore[list-item]
