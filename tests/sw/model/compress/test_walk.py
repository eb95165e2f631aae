# SPDX-License-Identifier: Apache-2.0
"""Compressing walks once over the tensors, and holds one of them at a time."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from xorloom.sw.index.masks import choose
from xorloom.sw.model import codec, compress
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.model.prepare import CutModel, PackedPart, PutAside, maker, part_of, units_of
from xorloom.sw.model.reports.kept import KeptReport, kept_row
from xorloom.sw.model.verify import verify_tensor
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.index_config import EntropyConfig, LowrankConfig, TrellisConfig
from xorloom.sw.tensors import prune
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.block import codec as block_codec
from xorloom.sw.value.window import decoding

from tests.helpers.models import CONFIG, WINDOW, as_model, spec

TRELLIS = TrellisConfig(n_in=8, n_out=64, window=6, bus_bits=32)
OPTIONS = {
    "window, searched": spec(config=WINDOW, search=True),
    "window": spec(config=WINDOW),
    "block, searched": spec(config=CONFIG, search=True, quantizer=Quantizer(planes=2)),
    "row, searched": spec(config=WINDOW, search=True, scope="row"),
    "global, searched": spec(config=WINDOW, search=True, scope="global"),
    "ternary, searched": spec(config=CONFIG, search=True, quantizer=Quantizer("ternary")),
    "entropy": spec(config=WINDOW, index=EntropyConfig(n_out=64, lanes=8, bus_bits=32)),
    "trellis, searched": spec(config=WINDOW, search=True, index=TRELLIS),
    "lowrank": spec(config=WINDOW, index=LowrankConfig(n_out=64, bus_bits=32)),
}
WALKS = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@pytest.fixture
def calls(monkeypatch):
    """Number of calls of what must run once per tensor."""
    count = {}

    def counted(module, name):
        function = getattr(module, name)

        def run(*args, **options):
            count[name] = count.get(name, 0) + 1
            return function(*args, **options)

        monkeypatch.setattr(module, name, run)

    counted(compress, "select")
    counted(maker, "quantize")
    counted(choose, "choose_index")
    for name in ("prune_tensor", "prune_rows", "global_cuts"):
        counted(prune, name)
    for name in ("encode_value", "encode_index"):
        counted(codec, name)
    return count


@WALKS
def test_every_tensor_is_pruned_quantized_and_encoded_once(options, arrays, tmp_path, calls, rng):
    # Large enough for the densities of a chosen mask.
    arrays |= {n: rng.standard_normal((96, 128)).astype("f") for n in ("enc.weight", "dec.weight")}
    compress_model(as_model(arrays), tmp_path / "c", options)
    once = {"select": 1, "quantize": 2, "encode_value": 2}
    if options.chooses:
        once |= {"choose_index": 2}
    else:
        by_scope = {"tensor": {"prune_tensor": 2}, "row": {"prune_rows": 2}}
        once |= by_scope.get(options.scope, {"global_cuts": 1}) | {"encode_index": 2}
    assert calls == once


def test_tensors_that_were_selected_are_not_selected_again(arrays, tmp_path, calls):
    names = ["dec.weight"]
    plans = {"dec.weight": spec()}
    made = compress_model(as_model(arrays), tmp_path / "c", plans)
    assert "select" not in calls
    assert list(made.bits) == names == list(read_container(tmp_path / "c").tensors)


@WALKS
def test_nothing_is_decoded_that_was_just_encoded(options, arrays, tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("decoded")

    monkeypatch.setattr(codec, "read_value", refuse)
    monkeypatch.setattr(codec, "decode_index_words", refuse)
    for module in (block_codec, decoding):
        monkeypatch.setattr(module, "decode_slices", refuse)
    report = KeptReport(as_model(arrays))
    compress_model(as_model(arrays), tmp_path / "c", options, done=report)
    assert [row["tensor"] for row in report.rows] == ["enc.weight", "dec.weight"]
    with pytest.raises(AssertionError, match="decoded"):
        verify_tensor(read_container(tmp_path / "c"), "enc.weight")


@WALKS
def test_what_is_kept_is_told_of_the_masks_that_the_file_holds(options, arrays, tmp_path):
    model, report = as_model(arrays), KeptReport(as_model(arrays))
    bits = compress_model(model, tmp_path / "c", options, done=report).bits
    container, rows = read_container(tmp_path / "c"), []
    for name, info in container.tensors.items():
        mask = verify_tensor(container, name).mask
        index = bits[name].index / mask.size
        rows.append(kept_row(name, model[name].weights(), mask, index, info.planes))
    assert report.rows == rows


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("own", ["masks", "codes"])
@pytest.mark.parametrize("shape", [(20, 30), (7, 3, 5), (1, 1)])
def test_what_was_put_aside_comes_back(shape, own, planes, rng, tmp_path):
    model = as_model({"w": rng.standard_normal(shape).astype(np.float32)})
    mask = rng.random(shape) < 0.4
    given = UserArrays({"w": mask})
    if own == "codes":
        given = replace(given, codes={"w": rng.integers(0, 2, shape, np.uint8)})
    options = spec(quantizer=Quantizer(planes=planes), order="row")
    part = part_of(units_of(CutModel(model, {"w": options}, given))["w"])
    with (tmp_path / "aside").open("wb+") as file:
        aside = PutAside(file)
        assert aside.take("w") is None
        for name in "abw":
            aside.put(name, PackedPart.of(part))
        found = aside.take("w").whole()
    assert (found.order, found.slices_per_stream, found.chosen) == ("row", None, None)
    assert (found.quantized.mask == mask).all()
    assert (found.quantized.codes == part.quantized.codes * mask).all()
    assert found.quantized.scales.dtype == part.quantized.scales.dtype
    assert (found.quantized.scales == part.quantized.scales).all()


def many(count, shape, dtype):
    """A model whose tensors are made when they are read, so that none is held by it."""

    def load(seed):
        return np.random.default_rng(seed).standard_normal(shape).astype(dtype)

    return {
        f"t{k:03}": ModelTensor(f"t{k:03}", "F32", shape, lambda k=k: load(k)) for k in range(count)
    }


@pytest.mark.long
@pytest.mark.parametrize("scope", ["tensor", "global"])
@pytest.mark.parametrize("config", [BlockConfig(), WindowConfig()], ids=["block", "window"])
def test_memory_holds_a_tensor_at_a_time(config, scope, tmp_path, monkeypatch):
    """Twice the tensors take hardly more memory: encoded, searched or passed through.

    One job, so that it is exact; how many tensors several jobs hold, ``test_workers`` tells.
    """
    monkeypatch.setattr("xorloom.sw.value.search.SAMPLE_WEIGHTS", 1 << 15)
    peaks = {}
    # The first run compiles kernels and fills caches. A search holds runs of up to 16 tensors.
    for count in (4, 32, 64):
        model = many(count, (128, 256), np.float32)
        include = tuple(f"t{k:03}" for k in range(0, count, 2))
        options = CompressSpec(config=config, scope=scope, include=include)
        tracemalloc.start()
        try:
            compress_model(model, tmp_path / "c", options, jobs=1)
            peaks[count] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    tensor = 4 * 128 * 256
    assert (tmp_path / "c").stat().st_size > 32 * tensor
    # A search keeps some bookkeeping per tensor. All quantized tensors would take 8 more, all
    # that pass through 16.
    assert peaks[64] < peaks[32] + 4 * tensor, peaks


@pytest.mark.parametrize("options", ["window", "window, searched", "block, searched"])
def test_what_was_changed_is_told_whether_or_not_a_tensor_was_put_aside(options, rng, tmp_path):
    weights = (rng.standard_normal((16, 24)) * 1e-7).astype(np.float32)
    made = compress_model(as_model({"w": weights}), tmp_path / "c", OPTIONS[options])
    (note,) = made.tensors["w"].notes
    assert note.startswith("scales are float32: in float16 ")
