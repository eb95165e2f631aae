# SPDX-License-Identifier: Apache-2.0
"""Messages that tell a range, a multiple or a power of two: whatever they allow is taken."""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xorloom.hw.bus.axi_reader import AxiReader
from xorloom.hw.ip.registers import Registers
from xorloom.hw.ip.top import IpBlock
from xorloom.sw.base.errors import ConfigError, check_range
from xorloom.sw.index.choice import index_config
from xorloom.sw.index.trellis.choose import minterms_for
from xorloom.sw.spec.codecs import INDEX_CODECS, VALUE_CODECS
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct_preset import direct_config
from xorloom.sw.spec.index_config import BitmapConfig

RANGE = re.compile(
    r"^(\w+) must be (?:a (multiple of (\d+)|power of two) )?between (-?\d+) and (-?\d+), not -?\d+"
)
REGISTERS = {"n_out": 256, "planes": 4, "kinds": 2, "network": 1, "reader": True}
NUMBERS = st.integers(-2, 70) | st.integers(0, 5000) | st.integers(0, 1 << 66)
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


def ip_block(**given: int) -> IpBlock:
    value = WindowConfig(n_in=16, n_out=64, window=64, frame=16)
    sizes = {"planes": 1} | given
    lanes = BitmapConfig(n_out=max(1, 64 // max(1, sizes["planes"])))
    return IpBlock(value, [lanes], reader=True, **sizes)


MAKERS: dict[str, tuple[Callable[..., object], list[str]]] = {
    name: (made, list(made().to_dict())) for name, made in (VALUE_CODECS | INDEX_CODECS).items()
}
READER = ["address_bits", "max_burst", "align_bytes"]
MAKERS["registers"] = (
    lambda **given: Registers(**({"bus_bits": 64} | REGISTERS | given)),
    ["n_out", "planes", "kinds", "network", "address_bits", "align_bytes", "queue"],
)
MAKERS["reader"] = (lambda **given: AxiReader(**({"bus_bits": 64} | given)), READER)
MAKERS["ip"] = (ip_block, ["planes", *READER])


def refusal(make: Callable[..., object], values: Mapping[str, object]) -> str | None:
    """Return why values are refused."""
    try:
        make(**values)
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_a_message_allows_is_taken(name: str, data: st.DataObject) -> None:
    """A parameter that was refused is set to anything its message allows; then it is not again."""
    make, parameters = MAKERS[name]
    few = [p for p in parameters if p != "bus_bits"]
    values = data.draw(st.dictionaries(st.sampled_from(few), NUMBERS, min_size=1, max_size=3))
    mended: list[str] = []
    while (text := refusal(make, values)) is not None and (told := RANGE.match(text)):
        own, kind, step, low, high = told.groups()
        assert own not in mended, f"{values}: {text}"
        mended.append(own)
        least, most = int(low), int(high)
        if kind == "power of two":
            powers = [1 << k for k in range(65) if least <= 1 << k <= most]
            assert {least, most} <= set(powers), text
            values[own] = data.draw(st.sampled_from(powers))
        else:
            by = int(step or 1)
            assert least % by == most % by == 0, text
            values[own] = by * data.draw(st.integers(least // by, most // by))
    if text is not None:  # two that do not fit: it names both
        assert "between" not in text or "bits per weight" in text, text


@given(planes=st.integers(1, 8), n_out=st.integers(1, 32), data=st.data())
def test_multiple_that_the_entropy_index_asks_for_is_taken(
    planes: int, n_out: int, data: st.DataObject
) -> None:
    def make(n_out: int) -> object:
        value = WindowConfig(n_out=n_out, window=2048)
        return index_config("entropy", value, planes, density=0.1)

    text = refusal(make, {"n_out": 64 * n_out})
    if text is None:
        assert 64 * n_out // planes % 8 == 0
        return
    told = re.search(r"make n_out a multiple of (\d+), at most (\d+)\)$", text)
    assert told is not None, text
    step, most = map(int, told.groups())
    assert make(step * data.draw(st.integers(1, most // step)))


@given(
    rate=st.fractions(Fraction(1, 40), 5, max_denominator=80),
    n_in=st.integers(1, 300),
    planes=st.integers(1, 6),
    data=st.data(),
)
def test_multiples_that_the_direct_codec_asks_for_are_taken(
    rate: Fraction, n_in: int, planes: int, data: st.DataObject
) -> None:
    wanted = {"rate": rate, "planes": planes, "taps": 3, "window": 16, "network_seed": 1}
    text = refusal(direct_config, {"n_in": n_in, **wanted})
    if text is None:
        assert n_in % rate.numerator == 0
    elif told := re.search(r"a multiple of (\d+), n_out (\d+) for each (\d+) of it$", text):
        step, bits, per = map(int, told.groups())
        times = data.draw(st.integers(1, min(2048 // step, 4096 * per // (bits * step))))
        n_in = step * times
        found = direct_config(n_in=n_in, n_out=n_in // per * bits, **wanted)
        assert found.rate == rate
    else:
        assert re.search("between 1/32 and 4|repeats after|^n_out must be a multiple", text), text


@given(n_in=st.integers(1, 2048), n_out=st.integers(1, 4096), planes=st.integers(1, 6))
def test_slice_that_the_direct_codec_proposes_is_taken(n_in: int, n_out: int, planes: int) -> None:
    make = VALUE_CODECS["direct"]
    text = refusal(make, {"n_in": n_in, "n_out": n_out, "planes": planes})
    if text and (told := re.search(r"such as (\d+)\)", text)):
        make(n_in=n_in, n_out=int(told[1]), planes=planes)
    elif text and text.startswith("n_out"):
        assert n_in * planes > 4096


@given(density=st.floats(0.001, 0.999))
def test_densities_that_the_trellis_names_are_taken(density: float) -> None:
    text = refusal(minterms_for, {"density": density})
    if text is not None:
        for told in re.findall(r"between (\S+) and (\S+) for", text)[0]:
            assert 1 <= minterms_for(float(told)) <= 15


def test_ends_of_a_range_are_rounded_inwards() -> None:
    text = r"x must be a multiple of 24 between 24 and 96, not 100 \(so\)$"
    with pytest.raises(ConfigError, match=text):
        check_range("x", 100, 8, 100, "so", step=24)
    assert [check_range("x", n, 8, 100, step=24) for n in (24, 96)] == [24, 96]
    with pytest.raises(ConfigError, match=r"^x must be a power of two between 2 and 8, not 6$"):
        check_range("x", 6, 2, 8, power=True)
