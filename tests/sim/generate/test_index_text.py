# SPDX-License-Identifier: Apache-2.0
"""Parameters of index codecs as texts, and files of parameters that hold all a model decides."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sim.cli.console.config_file import config_text
from xorloom.sim.generate.index_text import index_from_text, index_text
from xorloom.sim.generate.options import ConfigOptions, UnitOptions
from xorloom.sim.generate.units import unit_plan
from xorloom.sw.base.errors import ConfigError
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

from tests.helpers.cli import refuses, xorloom
from tests.helpers.weights import clustered_weights

VALUE = WindowConfig(n_out=256, bus_bits=128)
SHAPE = {"n_out": 256, "bus_bits": 128}
SEEDS = st.integers(0, (1 << 64) - 1)
CONFIGS = st.one_of(
    st.just(BitmapConfig(**SHAPE)),
    st.just(NoneConfig(**SHAPE)),
    st.builds(
        TrellisConfig,
        n_in=st.integers(1, 256),
        window=st.integers(6, 16),
        minterms=st.integers(1, 15),
        classes=st.sampled_from((1, 4)),
        period=st.integers(16, 65536),
        network_seed=SEEDS,
        **{name: st.just(value) for name, value in SHAPE.items()},
    ),
    st.builds(
        LowrankConfig,
        tile_slices=st.integers(15, 1024),
        tile_lanes=st.integers(11, 256),
        **{name: st.just(value) for name, value in SHAPE.items()},
    ),
    st.builds(
        EntropyConfig,
        lanes=st.sampled_from((1, 2, 4, 8, 16, 32)),
        states=st.sampled_from((16, 32, 64, 128, 256)),
        **{name: st.just(value) for name, value in SHAPE.items()},
    ),
    st.builds(
        HashedConfig,
        threshold=st.integers(1, 255),
        network_seed=SEEDS,
        **{name: st.just(value) for name, value in SHAPE.items()},
    ),
)


@given(config=CONFIGS)
def test_text_of_an_index_holds_all_its_parameters(config: IndexConfig) -> None:
    text = index_text(config)
    if ":" not in text:
        assert isinstance(config, BitmapConfig | NoneConfig)
    else:
        assert index_from_text(text, VALUE, 1) == config
        swapped = ",".join(reversed(text.partition(":")[2].split(",")))
        assert index_from_text(f"{config.codec}: {swapped}", VALUE, 1) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("huffman:lanes=2", "index must be one of bitmap, entropy, .*, not 'huffman'"),
        ("entropy:lanes=2", "missing or unknown states: give entropy:lanes=...,states=...$"),
        ("entropy:lanes=2,states=16,x=1", "missing or unknown x: give entropy:lanes="),
        ("entropy:lanes=2,lanes=2,states=16", "'lanes=2' is not one of its parameters"),
        ("entropy:lanes=two,states=16", "'lanes=two' is not one of its parameters"),
        ("entropy:lanes=2,states=12", "states must be a power of two between 16 and 256, not 12"),
        ("entropy:", "'' is not one of its parameters: give entropy:lanes"),
        ("bitmap:n_out=64", "missing or unknown n_out: give bitmap$"),
    ],
)
def test_text_that_is_no_index_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        index_from_text(text, VALUE, 1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ("--index-bits", 0.2),
            "index_bits goes with an index without parameters, not with entropy:",
        ),
        (
            ("--index-classes", 4),
            "index_classes goes with --index trellis, which chooses the other",
        ),
    ],
)
def test_wishes_do_not_go_with_parameters_that_are_given(
    options: tuple[object, ...], text: str, tmp_path: Path
) -> None:
    index = ("--unit", "index", "--index", "entropy:lanes=8,states=64")
    refuses(text, "generate", "-o", tmp_path / "no", *index, *options)


def test_unknown_index_is_told_what_there_is(tmp_path: Path) -> None:
    text = "index must be one of bitmap, entropy,"
    refuses(text, "generate", "--unit", "index", "--index", "zip", "-o", tmp_path / "no")


WINDOW = ("--n-out", 64, "--window", 64, "--bus-bits", 32, "--n-in", 16)
MODELS = {
    "trellis": (*WINDOW, "--density", 0.1, "--index-classes", 4, "--index-window", 8),
    "lowrank": (*WINDOW, "--index", "lowrank", "--index-bits", 0.3, "--density", 0.2),
    "hashed": (*WINDOW, "--index", "hashed", "--density", 0.3, "--planes", 2),
    "entropy": (*WINDOW, "--index", "entropy", "--density", 0.2, "--network-seed", 3),
    "none": ("--value", "direct", "--rate", "3/2", "--bus-bits", 128),
}
# Without an index decoder.
MODELS["block"] = ("--value", "block", "--n-out", 60, "--n-in", 9, "--density", 0.1)


@pytest.mark.parametrize("name", MODELS)
def test_file_of_a_models_decoder_has_all_its_parameters(name: str, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    np.savez(tmp_path / "model.npz", w=clustered_weights(64, 50, 1))
    options = ("--min-size", 100, *MODELS[name])
    xorloom("compress", tmp_path / "model.npz", "-o", model, *options)
    unit = "decoder" if name == "block" else "ip"
    given = ConfigOptions(model=model), UnitOptions(levels=name == "none")
    plan = unit_plan(unit, *given)
    text = config_text("top", plan, *given, name=None, clock_mhz=120)
    values = {key.replace("-", "_"): value for key, value in tomllib.loads(text).items()}
    assert "model" not in values
    assert (values.pop("unit"), values.pop("clock")) == (unit, 120)
    own = UnitOptions.__dataclass_fields__
    again = (
        ConfigOptions(**{key: value for key, value in values.items() if key not in own}),
        UnitOptions(**{key: value for key, value in values.items() if key in own}),
    )
    assert unit_plan(unit, *again) == plan
    assert config_text("top", plan, *again, name=None, clock_mhz=120) == text
