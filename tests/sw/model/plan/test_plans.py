# SPDX-License-Identifier: Apache-2.0
"""Plans per tensor: several decoders in one file, and what goes in comes out."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from xorloom.sw.base.errors import CapacityError, ConfigError, DensityError
from xorloom.sw.index.masks import choose
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.notes import report_notes
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.plans import make_plans
from xorloom.sw.model.plan.settings import Settings
from xorloom.sw.model.verify import verify_model
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.spec.index_config import (
    BitmapConfig,
    EntropyConfig,
    LowrankConfig,
    TrellisConfig,
)
from xorloom.sw.tensors.checkpoint import Checkpoint
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.models import CONFIG, WINDOW, as_model, spec

SMALL = {"n_in": 8, "n_out": 64, "window": 64, "shared": 16, "frame": 16, "bus_bits": 32}
FREE = {name: value for name, value in SMALL.items() if name != "n_in"}


@pytest.fixture
def model(rng):
    shapes = {"z": (64, 96), "bias": (96,), "a": (64, 96), "m": (3, 32, 64), "b": (64, 96)}
    return as_model({n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()})


def test_tensors_of_different_decoders_go_into_one_file_in_the_models_order(model, tmp_path):
    settings = {
        "z": Settings.of(SMALL | {"density": 0.2}),
        "a": Settings.of(SMALL | {"density": 0.1, "index_bits": 0.2, "index_window": 8}),
        "m": Settings.of({"value": "block", "n_out": 40, "bus_bits": 32, "sparsity": 0.7}),
        "b": Settings.of(
            SMALL | {"density": 0.2, "planes": 2, "quantizer": "uniform", "index": "entropy"}
        ),
    }
    made = compress_model(model, tmp_path / "c.safetensors", make_plans(model, settings))
    container = read_container(tmp_path / "c.safetensors")
    assert container.order == list(model)
    assert list(made.tensors) == ["z", "a", "m", "b"]
    assert container.decoders == made.decoders
    kinds = [(type(d.value), type(d.index)) for d in made.decoders]
    assert kinds == [
        (type(WINDOW), BitmapConfig),
        (type(WINDOW), TrellisConfig),
        (BlockConfig, BitmapConfig),
        (type(WINDOW), EntropyConfig),
    ]
    with pytest.raises(ConfigError, match="the tensors are for 2 value decoders, not for one"):
        _ = made.config
    assert all(verdict.ok for verdict in verify_model(container, golden=True))
    decompress_model(tmp_path / "c.safetensors", tmp_path / "d.safetensors")
    with safe_open(tmp_path / "d.safetensors", "numpy") as plain:
        for name, report in made.tensors.items():
            given, found = model[name].load(), plain.get_tensor(name)
            assert np.count_nonzero(found) == report.bits.kept
            lost = np.square(given - found, dtype=np.float64).sum() / np.square(given).sum()
            assert report.error == pytest.approx(lost, rel=1e-5)
            assert container.tensor(name).error == report.error
        assert (plain.get_tensor("bias") == model["bias"].load()).all()


def test_tensors_of_equal_codecs_share_a_decoder_whatever_their_density(model, tmp_path):
    settings = {
        name: Settings.of(FREE | {"density": density})
        for name, density in {"z": 0.1, "a": 0.6, "b": 0.35}.items()
    }
    made = compress_model(model, tmp_path / "c", make_plans(model, settings))
    assert made.config == replace(WINDOW, n_in=8), "of 64 weights 22 are kept: 16 would not fit"
    kept = [made.tensors[name].bits.kept / (64 * 96) for name in ("z", "a", "b")]
    assert kept == pytest.approx([0.1, 0.6, 0.35], abs=1e-3)


def test_a_search_is_for_the_tensors_of_one_decoder(model, tmp_path):
    settings = {
        "z": Settings.of(FREE | {"density": 0.05}),
        "a": Settings.of(FREE | {"density": 0.9, "planes": 2}),
        "b": Settings.of(FREE | {"density": 0.05}),
    }
    made = compress_model(model, tmp_path / "c", make_plans(model, settings))
    values = {name: report.decoder.value.n_in for name, report in made.tensors.items()}
    assert values == {"z": 8, "a": 32, "b": 8}


def test_global_pruning_is_among_tensors_of_one_sparsity(model, tmp_path):
    plans = {
        "z": spec(config=WINDOW, scope="global", sparsity=0.5),
        "a": spec(config=WINDOW, scope="global", sparsity=0.9),
        "b": spec(config=WINDOW, scope="global", sparsity=0.9, quantizer=Quantizer(planes=2)),
    }
    bits = compress_model(model, tmp_path / "c", plans).bits
    assert bits["z"].kept == 64 * 96 // 2
    assert bits["a"].kept + bits["b"].kept == pytest.approx(2 * 64 * 96 * 0.1, abs=1)


@pytest.mark.parametrize("wanted", [{"sparsity": 0.5}, {"density": 0.1}, {"bits_per_weight": 1}])
def test_a_mask_beside_a_density_is_refused(wanted, model):
    settings = {"z": Settings.of(wanted), "a": Settings()}
    with pytest.raises(ConfigError, match="the mask of 'z' tells what is kept: give no sparsity"):
        make_plans(model, settings, {"z", "other"})
    assert make_plans(model, {"z": Settings()}, {"z"})["z"].sparsity is None


def test_errors_of_a_recipe_name_it_and_the_tensors(model):
    settings = dict.fromkeys(model, Settings.of({"index": "lz"}))
    with pytest.raises(ConfigError) as caught:
        make_plans(model, settings, where="r.toml: ")
    text = "r.toml: for z, bias, a and 2 more: index must be one of bitmap, entropy, trellis"
    assert str(caught.value).startswith(text)


def test_metadata_and_ties_come_along(model, tmp_path):
    source = Checkpoint(
        model, metadata={"format": "pt", "note": "\u00fc"}, ties={"head": "a", "copy": "bias"}
    )
    compress_model(source, tmp_path / "c.safetensors", {"a": spec(config=WINDOW)})
    container = read_container(tmp_path / "c.safetensors")
    assert container.metadata == source.metadata
    assert container.ties == source.ties
    assert list(container.tensors) == ["a"]


def test_foreign_tensors_pass_as_bytes(model, tmp_path):
    odd = replace(
        model["bias"],
        name="odd",
        dtype="torch.qint8",
        load=lambda: np.arange(7, dtype=np.uint8),
        foreign="torch",
    )
    found = {"odd": odd} | model
    compress_model(found, tmp_path / "c.safetensors", {"a": spec(config=WINDOW)})
    container = read_container(tmp_path / "c.safetensors")
    assert container.order[0] == "odd"
    assert container.raw("odd") == bytes(range(7))
    info = container.foreign["odd"]
    assert (info.dtype, info.shape, info.encoding) == ("torch.qint8", (96,), "torch")


def test_an_index_rate_that_was_not_met_is_told(model, tmp_path):
    wanted = Settings.of(SMALL | {"density": 0.1, "index_bits": 0.2, "index_window": 8})
    made = compress_model(model, tmp_path / "c", make_plans(model, {"a": wanted}))
    rate = made.bits["a"].index / made.bits["a"].weights
    assert report_notes(made.tensors, {"a": wanted}) == []
    off = replace(wanted, index_bits=0.4)
    text = f"{rate:.4g} index bits per weight, 0.4 asked for"
    assert report_notes(made.tensors, {"a": off}) == [f"a: {text}"]
    many = {f"t{k}": made.tensors["a"] for k in range(5)}
    assert report_notes(many, dict.fromkeys(many, off)) == [
        f"5 tensors (the first: {text}): t0, t1, t2 and 2 more"
    ]


def test_a_mask_that_the_trellis_cannot_choose_is_stored_by_another_index(
    model, tmp_path, monkeypatch
):
    def refuse(*_args):
        raise DensityError("trellis", 614, 700, 6144)

    monkeypatch.setattr(choose, "choose_index", refuse)
    wanted = Settings.of(SMALL | {"density": 0.1, "index_bits": 0.2, "index_window": 8})
    made = compress_model(model, tmp_path / "c.safetensors", make_plans(model, {"a": wanted}))
    report = made.tensors["a"]
    assert (report.bits.kept, report.origin) == (614, "pruned")
    rate = report.bits.index / report.bits.weights
    assert report_notes(made.tensors, {"a": wanted}) == [
        "a: the entropy index stores its mask, as the trellis index keeps 700 weights, not 614",
        f"a: {rate:.4g} index bits per weight, 0.2 asked for",
    ]
    container = read_container(tmp_path / "c.safetensors")
    assert container.tensor("a").decoder.index.codec == "entropy"
    assert all(verdict.ok for verdict in verify_model(container, golden=True))


def test_notes_of_one_kind_share_a_line_if_they_are_many(model, tmp_path):
    made = compress_model(model, tmp_path / "c", {"a": spec(config=WINDOW)})
    reports = {
        f"t{k}": replace(made.tensors["a"], notes=(f"{k + 1} zeros are pruned",)) for k in range(4)
    }
    settings = dict.fromkeys(reports, Settings())
    assert report_notes(reports, settings) == [
        "4 tensors (the first: 1 zeros are pruned): t0, t1, t2 and 1 more"
    ]
    del reports["t3"]
    assert report_notes(reports, settings) == [
        "t0: 1 zeros are pruned",
        "t1: 2 zeros are pruned",
        "t2: 3 zeros are pruned",
    ]


def test_a_density_that_a_chosen_mask_misses_is_told(model, tmp_path):
    plans = {"a": spec(config=WINDOW, index=LowrankConfig(n_out=64, bus_bits=32), sparsity=0.9)}
    made = compress_model(model, tmp_path / "c", plans)
    report = made.tensors["a"]
    off = replace(report, plan=replace(report.plan, sparsity=0.8))
    kept = report.bits.kept / report.bits.weights
    line = f"a: density {kept:.4g}, 0.2 asked for"
    assert report_notes({"a": off}, {"a": Settings(sparsity=0.8)}) == [line]
    assert report_notes({"a": report}, {"a": Settings(sparsity=0.9)}) == []


@pytest.mark.parametrize("scope", ["tensor", "row"])
def test_a_density_of_more_than_is_not_zero_is_told(scope, rng, tmp_path):
    w = rng.standard_normal((64, 96)).astype(np.float32)
    w[:, :48] = 0
    wanted = Settings.of(SMALL | {"density": 0.75, "scope": scope})
    model = as_model({"w": w})
    made = compress_model(model, tmp_path / "c", make_plans(model, {"w": wanted}))
    assert report_notes(made.tensors, {"w": wanted}) == ["w: density 0.5, 0.75 asked for"]


@pytest.mark.parametrize("power", [-80, 80])
@pytest.mark.parametrize("wanted", ["energy", "budget"])
def test_what_is_kept_does_not_depend_on_the_size_of_weights(wanted, power, model, tmp_path):
    # Squares of such weights are beyond float32, or 0 in it.
    options = {"bits_per_weight": 1.0} if wanted == "budget" else {"index_bits": 0.2}
    options |= SMALL | {"index_window": 8, "scale_dtype": "float32"}
    settings = {"a": Settings.of(options | {"importance": "energy"})}
    weights = model["a"].weights()
    found = []
    for k, w in enumerate((weights, np.ldexp(weights, power))):
        this, out = as_model({"a": w}), tmp_path / f"{k}.safetensors"
        plans = make_plans(this, settings)
        made = compress_model(this, out, plans)
        found.append((plans["a"].pruned, made.tensors["a"].bits.kept, made.tensors["a"].error))
    assert found[1] == pytest.approx(found[0])


def test_settings_that_are_used_for_no_tensor_are_told(model, tmp_path):
    idle = SMALL | {"density": 0.2, "group": 7, "index_window": 8, "importance": "energy"}
    settings = {"a": Settings.of(idle), "b": Settings.of(SMALL | {"density": 0.1})}
    made = compress_model(model, tmp_path / "c", make_plans(model, settings))
    assert report_notes(made.tensors, settings) == [
        "importance energy is not used: it goes with an index that chooses the mask",
        "index-window 8 is not used: it goes with the trellis index",
        "group 7 is not used: it goes with scale group",
    ]
    settings["b"] = Settings.of(idle | {"scale": "group", "index_bits": 0.2})
    made = compress_model(model, tmp_path / "c", make_plans(model, settings))
    assert report_notes(made.tensors, settings) == [], "b uses what all are given"


def test_quantizers_of_own_codes_are_told(model, tmp_path):
    mask = {"a": np.ones((64, 96), np.bool_)}
    given = UserArrays(masks=mask, codes={"a": np.ones((64, 96), np.uint8)})
    settings = {"a": Settings.of(SMALL | {"quantizer": "uniform", "scale": "tensor"})}
    plans = make_plans(model, settings, mask)
    made = compress_model(model, tmp_path / "c", plans, given=given)
    assert report_notes(made.tensors, settings) == [
        "quantizer uniform is not used: your own codes are not quantized",
        "scale tensor is not used: your own codes are not quantized",
    ]


def test_a_budget_that_is_not_kept_is_told(model, tmp_path):
    wanted = Settings.of(SMALL | {"density": 0.1})
    made = compress_model(model, tmp_path / "c", make_plans(model, {"a": wanted}))
    total = made.bits["a"].total / made.bits["a"].weights
    asked = replace(wanted, density=None, bits_per_weight=1.0)
    assert report_notes(made.tensors, {"a": asked}) == [
        f"a: {total:.4f} bits per weight, 1 asked for"
    ]
    assert report_notes(made.tensors, {"a": replace(asked, bits_per_weight=5.0)}) == []


def test_more_bits_that_made_it_worse_are_told(rng, tmp_path):
    w = (rng.standard_normal((64, 128)) ** 5).astype(np.float32)
    plans = {"w": spec(config=WINDOW, sparsity=0.5, quantizer=Quantizer("uniform", 3))}
    made = compress_model(as_model({"w": w}), tmp_path / "c", plans)
    better = made.tensors["w"].better
    assert better is not None
    assert report_notes(made.tensors, {"w": Settings(sparsity=0.5)}) == [f"w: {better}"]
    fewer = {"w": replace(plans["w"], quantizer=better.better)}
    less = compress_model(as_model({"w": w}), tmp_path / "c", fewer).tensors["w"].error
    assert less < made.tensors["w"].error
    assert better.better.planes < 3


def test_a_tensor_that_the_trellis_does_not_fit_gets_another_index(tmp_path):
    arrays = {"few": np.zeros((64, 64), np.float32), "w": np.ones((64, 64), np.float32)}
    index = TrellisConfig(n_in=12, n_out=64, window=8, bus_bits=32)
    options = spec(config=WINDOW, index=index, sparsity=0.9)
    made = compress_model(as_model(arrays), tmp_path / "c.safetensors", options)
    assert [r.decoder.index.codec for r in made.tensors.values()] == ["entropy", "trellis"]
    assert report_notes(made.tensors, dict.fromkeys(arrays, Settings())) == [
        "few: the entropy index stores its mask, as it is all zeros",
    ]
    container = read_container(tmp_path / "c.safetensors")
    assert all(verdict.ok for verdict in verify_model(container, golden=True))


def test_block_values_have_no_order():
    wanted = Settings.of({"value": "block", "order": "row"})
    with pytest.raises(ConfigError, match="--order belongs to --value window or direct, not block"):
        _ = wanted.config
    assert Settings.of(
        {"value": "block", "n_in": 8, "n_out": 40, "lanes": 2, "bus_bits": 32}
    ).config
    assert CONFIG.n_out == 40


def test_errors_of_an_encoder_name_the_tensor(model, tmp_path):
    tight = Settings.of(SMALL | {"n_out": 192, "density": 0.9})
    with pytest.raises(
        CapacityError, match=r"^tensor 'a': slices 0 to 15 keep too many weights for window"
    ):
        compress_model(model, tmp_path / "c", make_plans(model, {"a": tight}))
    assert list(tmp_path.iterdir()) == []
