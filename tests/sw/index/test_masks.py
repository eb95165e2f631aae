# SPDX-License-Identifier: Apache-2.0
"""Choices of masks: mask and seeds from one call, for tensors of any size and rank, and files."""

import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError, DensityError, FormatError
from xorloom.sw.index.masks import Choice, check_choice, choose_mask, load_choices, save_choices
from xorloom.sw.index.plane import decode_index
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.index_config import BitmapConfig

WINDOW = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32)
CODECS = ("trellis", "lowrank", "hashed")


def quick(weights, codec="trellis", density=0.2, **options):
    options = {"value": WINDOW, "window": 6, "threads": 1} | options
    return choose_mask(weights, density=density, codec=codec, **options)


def decoded(choice):
    facts = choice.index, choice.order, choice.slices_per_stream
    return decode_index(choice.seeds, choice.mask.shape, *facts, "w")


@given(
    st.lists(st.integers(0, 9), max_size=4),
    st.sampled_from(CODECS),
    st.sampled_from([1, 2, 5]),
    st.floats(0.02, 0.45),
    st.integers(0, 1 << 20),
)
def test_seeds_decode_to_the_mask_of_any_shape(shape, codec, planes, density, seed):
    weights = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    try:
        choice = quick(weights, codec, density, planes=planes)
    except DensityError:
        choice = None
    if choice is None:
        assert weights.size < 1000  # a few weights are many of so few
        return
    assert choice.mask.shape == weights.shape
    assert (decoded(choice) == choice.mask).all()
    assert choice.index.n_out == WINDOW.n_out // planes
    if codec != "hashed":
        wanted = min(max(1, round(density * weights.size)), weights.size)
        assert abs(choice.count - wanted) <= max(1, 0.02 * wanted)


def test_a_density_that_no_mask_meets_tells_what_to_do():
    weights = np.ones(30, np.float32)
    for seed in range(50):
        weights = np.random.default_rng(seed).standard_normal(300)
        try:
            quick(weights, density=0.1, index_bits=0.04)
        except DensityError as error:
            found = str(error)
            break
    assert found.startswith("weights: the trellis index keeps ")
    assert "of 300 weights, not 30: it has no nearer mask (use --index entropy or bitmap" in found


@pytest.mark.parametrize("codec", CODECS)
def test_importance_is_what_is_kept(codec, rng):
    weights = rng.standard_normal((64, 48)).astype(np.float32)
    worth = rng.random(weights.shape) ** 4
    ours, other = quick(weights, codec, importance=worth), quick(weights, codec)
    assert worth[ours.mask].sum() > worth[other.mask].sum()
    assert np.abs(weights[ours.mask]).sum() < np.abs(weights[other.mask]).sum()
    plain = quick(weights, codec, importance=np.abs(weights))
    assert (plain.mask == other.mask).all()
    assert quick(weights, codec).seeds == other.seeds


@pytest.mark.parametrize("codec", ["trellis", "lowrank"])
def test_what_is_stored_is_the_rate_that_was_asked_for(codec, rng):
    # Low-rank tiles count preamble, header and padding: their config's rate is less.
    weights = rng.standard_normal((100, 300)).astype(np.float32)
    choice = choose_mask(weights, None, 0.1, 0.166, codec=codec, window=8)
    bits = 8 * len(choice.seeds) / weights.size
    assert choice.bits_per_weight == bits
    framed = choice.encoded.overhead_bits / weights.size
    assert 0.95 * 0.166 < bits < 0.166 * 1.01 + (framed if codec == "trellis" else 0)


def test_more_is_not_kept_than_is_not_zero(rng):
    weights = rng.standard_normal((64, 64)) * (rng.random((64, 64)) < 0.1)
    choice = quick(weights.astype(np.float32), density=0.3)
    assert choice.count <= 1.02 * np.count_nonzero(weights)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"codec": "entropy"}, "w: codec must be one that chooses masks, trellis, lowrank, hashed"),
        ({"codec": "magic"}, "not 'magic'"),
        ({"density": 0.0}, "w: density must be in (0, 1), not 0.0"),
        ({"density": 1.0}, "w: density must be in (0, 1), not 1.0"),
        ({"density": 0.6}, "w: density must be between"),
        ({"index_bits": 0.9}, "w: index bits must be between 0.03 and 0.5"),
        ({"codec": "hashed", "index_bits": 0.1}, "w: the hashed index has a rate of its own"),
        ({"codec": "lowrank", "index_bits": 0.001}, "w: index bits 0.001 are too few"),
        ({"importance": np.ones(3)}, "w: importance must have the weights' shape (20, 30)"),
        ({"importance": -np.ones((20, 30))}, "w: importance must be finite and not negative"),
        ({"importance": np.full((20, 30), np.inf)}, "w: importance must be finite"),
        ({"value": BlockConfig()}, "w: the trellis index goes with the window value codec"),
        ({"order": "diagonal"}, "w: order must be one of row"),
        ({"planes": 0}, "planes must be between"),
        ({"window": 40}, "w: window must be between 6 and 16"),
    ],
)
def test_bad_arguments_are_told(options, text, rng):
    weights = rng.standard_normal((20, 30))
    with pytest.raises(ConfigError) as caught:
        quick(weights, **{"name": "w"} | options)
    assert text in str(caught.value)


def test_bad_weights_are_told(rng):
    weights = rng.standard_normal((20, 30)).astype(np.float32)
    with pytest.raises(ConfigError, match="w: every weight is zero: there is nothing to choose"):
        quick(0 * weights, name="w")
    for kind in (complex, str, object):
        with pytest.raises(ConfigError, match="w: weights must be real numbers, not"):
            quick(weights.astype(kind), name="w")
        with pytest.raises(ConfigError, match="w: importance must be real numbers, not"):
            quick(weights, importance=weights.astype(kind), name="w")
    with pytest.raises(ConfigError, match="threads must be between 1 and"):
        quick(weights, threads=0)
    weights[3, 4] = np.nan
    with pytest.raises(ConfigError, match=r"w: weight at \(3, 4\) is nan, must be finite"):
        quick(weights, name="w")


@pytest.fixture(scope="module")
def choices():
    rng = np.random.default_rng(5)
    shapes = {"a.weight": (40, 48), "conv": (6, 5, 3, 3), "line": (700,)}
    return {
        name: quick(rng.standard_normal(shape), codec)
        for (name, shape), codec in zip(shapes.items(), CODECS, strict=True)
    }


def test_a_part_that_is_none_is_refused(choices):
    good = choices["conv"]
    for change, text in (
        ({"mask": good.mask.astype(np.uint8)}, "mask of a choice must be a bool array, not uint8"),
        ({"mask": [True]}, "mask of a choice must be a bool array, not list"),
        ({"seeds": bytearray(4)}, "seeds of a choice must be bytes, not bytearray"),
        ({"index": BitmapConfig()}, "must choose masks (trellis, lowrank or hashed), not bitmap"),
        ({"index": None}, "must choose masks (trellis, lowrank or hashed), not None"),
        ({"order": "diagonal"}, "order must be one of"),
        ({"slices_per_stream": -1}, "slices_per_stream must be between 0 and"),
    ):
        with pytest.raises(ConfigError) as caught:
            Choice(**vars(good) | change)
        assert text in str(caught.value)


def test_a_file_of_choices_brings_them_back(choices, tmp_path):
    path = tmp_path / "c.npz"
    save_choices(path, choices)
    loaded = load_choices(path)
    assert list(loaded) == list(choices)
    for name, choice in choices.items():
        found = vars(loaded[name])
        assert (found.pop("mask") == choice.mask).all()
        assert found == {key: value for key, value in vars(choice).items() if key != "mask"}
    with np.load(path) as plain:  # any other program has the masks at hand
        assert (plain["conv"] == choices["conv"].mask).all()
    first = path.read_bytes()
    save_choices(path, choices)
    assert path.read_bytes() == first


def test_choices_that_no_file_can_hold_are_refused(choices, tmp_path):
    good = choices["conv"]
    with pytest.raises(ConfigError, match=r"must end in \.npz"):
        save_choices(tmp_path / "c.zip", choices)
    with pytest.raises(
        ConfigError, match=r"name must not end in \.seeds or \.index, as 'x\.seeds'"
    ):
        save_choices(tmp_path / "c.npz", {"x.seeds": good})
    other = Choice(**vars(good) | {"mask": ~good.mask})
    with pytest.raises(FormatError, match="x: the seeds decode to another mask"):
        save_choices(tmp_path / "c.npz", {"x": other})
    with pytest.raises(FormatError, match="x: the seeds decode to another mask"):
        check_choice(other, "x")
    with pytest.raises(ConfigError, match="x: must be a Choice of choose_mask, not ndarray"):
        save_choices(tmp_path / "c.npz", {"x": good.mask})
    with pytest.raises(ConfigError, match="there is no choice to write"):
        save_choices(tmp_path / "c.npz", {})
    assert list(tmp_path.iterdir()) == []


def rewritten(path, out, **change):
    """Write a file anew with other arrays; None leaves one out."""
    with np.load(path) as old:
        arrays = {name: old[name] for name in old.files} | {
            key.replace("__", "."): value for key, value in change.items()
        }
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            if array is not None:
                with archive.open(f"{name}.npy", "w") as entry:
                    np.lib.format.write_array(entry, np.asarray(array))
    return out


def text_of(text):
    return np.frombuffer(text.encode(), np.uint8)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"conv__seeds": None}, "no file of choices: conv.seeds is missing or has no mask"),
        ({"conv__index": None}, "no file of choices: conv.index is missing or has no mask"),
        ({"conv": None}, "no file of choices: conv.index is missing or has no mask"),
        ({"more": np.ones(3, np.bool_)}, "no file of choices: more.index is missing"),
        ({"conv": np.ones((6, 5, 3, 3))}, "conv: the mask of a choice must be a bool array"),
        ({"conv": np.ones((6, 5, 3, 3), np.bool_)}, "conv: the seeds decode to another mask"),
        (
            {"conv": np.ones((3, 3), np.bool_)},
            "conv: index stream 0: index must hold 9 weights, found 270",
        ),
        ({"conv__seeds": np.ones(3)}, "conv.seeds must be bytes, not float64 (3,)"),
        ({"conv__seeds": np.zeros(0, np.uint8)}, "conv: 270 weights must be"),
        ({"conv__index": text_of("{")}, "conv.index is no JSON text"),
        ({"conv__index": text_of("[]")}, "conv.index must tell codec, config, order"),
        (
            {"conv__index": text_of('{"codec":[],"config":{},"order":"","slices_per_stream":0}')},
            "conv.index must tell codec, config, order",
        ),
        (
            {
                "conv__index": text_of(
                    '{"codec":"bitmap","config":{"n_out":64,"bus_bits":32},"order":"row",'
                    '"slices_per_stream":0}'
                )
            },
            "conv: the index of a choice must choose masks",
        ),
        (
            {
                "conv__index": text_of(
                    '{"codec":"hashed","config":{"n_out":"x"},"order":"row","slices_per_stream":0}'
                )
            },
            "conv: hashed codec parameters do not fit",
        ),
    ],
)
def test_a_changed_file_is_told(change, text, choices, tmp_path):
    save_choices(tmp_path / "good.npz", choices)
    bad = rewritten(tmp_path / "good.npz", tmp_path / "bad.npz", **change)
    with pytest.raises(FormatError) as caught:
        load_choices(bad)
    assert text in str(caught.value)
    assert str(bad) in str(caught.value)


def test_a_damaged_file_is_never_taken_for_another(choices, tmp_path, rng):
    path, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    save_choices(path, choices)
    data = path.read_bytes()
    whole = load_choices(path)
    told = 0
    for at in rng.integers(0, len(data), 150).tolist():
        broken = bytearray(data)
        broken[at] ^= 1 << int(rng.integers(8))
        bad.write_bytes(broken)
        with suppress(FormatError):  # else it is a time or a version that nobody reads
            told += 1
            found = load_choices(bad)
            told -= 1
            assert [c.seeds for c in found.values()] == [c.seeds for c in whole.values()]
    assert told > 75
    for size in range(0, len(data), len(data) // 20):
        bad.write_bytes(data[:size])
        with pytest.raises(FormatError):
            load_choices(bad)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_choices(tmp_path / "c.npz")
    with pytest.raises(ConfigError, match=r"must end in \.npz"):
        load_choices(tmp_path / "c.safetensors")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(FormatError, match="no file of choices: there is no mask"):
        load_choices(tmp_path / "empty.npz")
