# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""AXI read master: exported Verilog against cocotbext-axi, with stalls, errors and aborts."""

import random
from typing import Any

import pytest
from xorloom.hw.bus.axi_burst import AxiBurst
from xorloom.hw.bus.axi_reader import AxiReader
from xorloom.hw.flow.export import component_verilog
from xorloom.sim.simulate.runner import build, run
from xorloom.sw.base.errors import ConfigError

ADDRESS_BITS = 32
QUICK = {"align": 1, "max_burst": 16}
"""The one build that is made in a quick run, of 64 bits; test_axi_memory uses it, too."""


def simulate_cases(cases: list[dict[str, Any]], **parameters: int) -> list[dict[str, int]]:
    """Run cases on one build; return what each counted."""
    job = {"outstanding": 4, "max_burst": 256, "align_bytes": 1} | parameters
    reader = AxiReader(address_bits=ADDRESS_BITS, **job)
    built = build(component_verilog(reader, "axi_reader"), "axi_reader")
    job |= {"address_bits": ADDRESS_BITS, "cases": cases}
    result = run(built, "xorloom.sim.testbenches.reader", "reads_descriptors", job)
    assert "failure" not in result, result["failure"]
    return result["cases"]


def random_cases(count: int, seed: int, *, bus: int, align: int) -> list[dict[str, Any]]:
    """Descriptors of all sizes near page ends, under stall patterns of every kind."""
    rng = random.Random(seed)
    width = bus // 8
    cases = []
    for number in range(count):
        descriptors = []
        for _ in range(rng.randint(1, 6)):
            words = rng.choice([1, 1, 2, 3, rng.randint(1, 40), rng.randint(1, 300)])
            near = rng.randrange(1, 1 << 12) * 4096 - rng.choice([0, 1, 2, words, 500]) * width
            address = max(0, near + rng.randrange(-width, width)) // align * align
            descriptors.append((address, words * width))
        patterns = {
            key: rng.choice(["none", "random", "bursts", "slow" if number % 4 == 0 else "none"])
            for key in ("ar", "r", "sink", "source")
        }
        cases.append({"descriptors": descriptors, "seed": number} | patterns)
    return cases


def edge_cases(*, bus: int, align: int) -> list[dict[str, Any]]:
    """One descriptor each: every way to lie at the end of a page, every start within a word."""
    width = bus // 8
    starts = {4096 - k * width for k in (0, 1, 2, 3, 4, 5)}
    starts |= {4096 - width + k for k in range(0, width, align)}
    starts |= {8192 - 2 * width - k for k in range(0, width, align)}
    return [
        {"descriptors": [(start, words * width) for words in (1, 2, 4, 5)]}
        for start in sorted(starts)
    ]


def stop_cases(kind: str, *, bus: int, align: int) -> list[dict[str, Any]]:
    """Abort or reset after every so many clocks, then a new descriptor; with or without a wait."""
    width = bus // 8
    cases = []
    for clock in (*range(1, 16), 23, 40, 80):
        for wait in (True, False) if kind == "abort_after" else (False,):
            cases.append(
                {
                    "descriptors": [(4096 - 5 * align, 9 * width), (0x9000 + align, 70 * width)]
                    * 2,
                    kind: clock,
                    "wait": wait,
                    "then": [(0x3000 + align, 7 * width), (0x5000, width)],
                    "ar": ("none", "random", "slow")[clock % 3],
                    "r": ("none", "random")[clock % 2],
                    "sink": ("none", "slow", "random")[clock // 2 % 3],
                }
            )
    return cases


def error_cases(*, bus: int, align: int) -> list[dict[str, Any]]:
    """SLVERR (2), DECERR (3) and EXOKAY (1, no error) in the first, a middle and the last word."""
    width = bus // 8
    return [
        {
            "descriptors": [(0x1000 + offset, 10 * width), (0x8000, 2 * width)],
            "errors": {0x1000 + place * width: response},
            "sink": sink,
        }
        for response in (1, 2, 3)
        for place in (0, 4, 9, 10)
        for offset, sink in ((0, "none"), (align % width, "random"))
    ]


def check_all(count: int, *, bus: int, align: int, max_burst: int, outstanding: int = 4) -> None:
    where = {"bus": bus, "align": align}
    groups = [
        edge_cases(**where),
        error_cases(**where),
        stop_cases("abort_after", **where),
        stop_cases("reset_after", **where),
        random_cases(count, bus + align, **where),
    ]
    simulate_cases(
        [case for group in groups for case in group],
        bus_bits=bus,
        align_bytes=align,
        max_burst=max_burst,
        outstanding=outstanding,
    )


@pytest.mark.build
def test_axi_reader_keeps_the_rules_and_yields_every_word() -> None:
    check_all(16, bus=64, **QUICK)


def check_streaming(burst_of_512: int, **parameters: int) -> None:
    cases = [
        {"descriptors": [(0x10000, 4096)]},
        {"descriptors": [(0x10F00, 4096)] * 4},
        {"descriptors": [(0x10000, 8 * 5)] * 20},
        {"descriptors": [(0x10000, 8)] * 9},
    ]
    counts = simulate_cases(cases, bus_bits=64, **parameters)
    assert [c["span"] for c in counts[:3]] == [512, 4 * 512, 100], "one word per cycle"
    assert counts[0]["bursts"] == burst_of_512
    assert counts[3]["span"] == 8 * 4 + 1, "four cycles for a descriptor of one burst"


@pytest.mark.build
def test_axi_reader_reads_on_without_a_bubble() -> None:
    check_streaming(512 // QUICK["max_burst"], align_bytes=QUICK["align"], max_burst=16)


@pytest.mark.slow
def test_axi_reader_of_bus_words_reads_on_without_a_bubble() -> None:
    check_streaming(2, align_bytes=8, max_burst=256)


@pytest.mark.build
def test_axi_reader_unaligned_descriptor_costs_one_beat_more() -> None:
    cases = [{"descriptors": [(0x1000 + k, 1024)]} for k in range(8)]
    counts = simulate_cases(cases, bus_bits=64, align_bytes=1, max_burst=16)
    assert [c["span"] for c in counts] == [128] * 8, "the beat more comes before the first word"
    assert [c["bursts"] for c in counts] == [8] + [9] * 7
    assert max(c["most_flying"] for c in counts) > 1, "bursts are issued ahead"


@pytest.mark.slow
def test_axi_reader_unaligned_descriptors_follow_with_one_bubble() -> None:
    cases = [{"descriptors": [(0x1000 + k, 512)] * 3} for k in (0, 1, 63)]
    counts = simulate_cases(cases, bus_bits=512, align_bytes=1)
    assert [c["span"] for c in counts] == [24, 26, 26]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bus", "align", "max_burst", "outstanding"),
    [
        (32, 1, 1, 4),
        (32, 1, 4, 2),
        (64, 8, 256, 4),
        (32, 2, 256, 3),
        (64, 1, 256, 1),
        (64, 4, 16, 8),
        (128, 4, 4, 4),
        (256, 1, 64, 4),
        (512, 1, 256, 4),
        (512, 64, 8, 2),
        (1024, 16, 256, 4),
    ],
)
def test_axi_reader_of_any_shape(bus: int, align: int, max_burst: int, outstanding: int) -> None:
    check_all(60, bus=bus, align=align, max_burst=max_burst, outstanding=outstanding)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"bus_bits": 48}, "bus_bits must be a power of two between 8 and 1024, not 48"),
        ({"max_burst": 200}, "max_burst must be a power of two between 1 and 256, not 200"),
        ({"align_bytes": 16}, "align_bytes must be a power of two between 1 and 8, not 16"),
        ({"address_bits": 11}, "address_bits must be between 12 and 64, not 11"),
    ],
)
def test_axi_burst_refuses_what_it_cannot_be(parameters: dict[str, int], text: str) -> None:
    good = {"bus_bits": 64, "address_bits": 32, "max_burst": 16, "align_bytes": 8}
    with pytest.raises(ConfigError, match=text):
        AxiBurst(**(good | parameters))


@pytest.mark.parametrize("name", ["outstanding", "queue"])
def test_axi_reader_refuses_what_it_cannot_be(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be at least 1, not 0"):
        AxiReader(bus_bits=64, **{name: 0})
