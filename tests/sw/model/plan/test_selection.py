# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.plan.selection import select
from xorloom.sw.tensors.checkpoint import Checkpoint, open_model

from tests.helpers.models import as_model


def test_select_takes_large_float_matrices_in_file_order(arrays):
    model = as_model(arrays)
    assert select(model, (), 100) == ["enc.weight", "dec.weight"]
    assert select(model, (), 0) == ["enc.weight", "dec.weight", "tiny"]
    assert select(model, (), 401) == ["enc.weight"]


def test_select_globs_choose_among_those_that_qualify(arrays):
    model = as_model(arrays)
    assert select(model, ("*.weight",), 100) == ["enc.weight", "dec.weight"]
    assert select(model, ("dec.*", "enc*"), 100) == ["enc.weight", "dec.weight"]
    assert select(model, ("*",), 100) == ["enc.weight", "dec.weight"]
    assert select(model, ("[de]ec.weight",), 100) == ["dec.weight"]


def test_select_exact_names_need_not_qualify(arrays):
    model = as_model(arrays)
    assert select(model, ("enc.bias",), 100) == ["enc.bias"]
    assert select(model, ("tiny", "dec.*"), 100) == ["dec.weight", "tiny"]


def test_select_takes_an_exact_name_before_a_glob(rng):
    model = as_model({"w[0]": np.ones((20, 20), np.float32), "w0": np.ones((20, 20), np.float32)})
    assert select(model, ("w[0]",), 100) == ["w[0]"]


@pytest.mark.parametrize("pattern", ["nothing.*", "ENC.weight", "enc.bias?"])
def test_select_rejects_patterns_without_match(pattern, arrays):
    with pytest.raises(ConfigError) as caught:
        select(as_model(arrays), (pattern,), 100)
    expected = f"no matrix matches {pattern!r} (the model has: dec.weight, enc.weight ...)"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ids", "tensor 'ids' is I64, not floating point"),
        ("none", "tensor 'none' of shape (0, 300) is empty"),
    ],
)
def test_select_rejects_names_without_weights(name, text, arrays):
    with pytest.raises(ConfigError) as caught:
        select(as_model(arrays), (name,), 100)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("enc.bia?", "'enc.bias' is of fewer than two dimensions: name it in full to compress it"),
        ("tin*", "'tiny' is of fewer than 100 elements: name it in full to compress it anyway"),
        ("id*", "'ids' is I64, not floating point"),
    ],
)
def test_select_tells_why_what_a_pattern_matches_is_left_out(pattern, text, arrays):
    with pytest.raises(ConfigError) as caught:
        select(as_model(arrays), (pattern,), 100)
    assert text in str(caught.value)


def test_select_tells_every_reason_where_nothing_is_left(arrays):
    with pytest.raises(ConfigError) as caught:
        select(as_model(arrays), (), 5000)
    assert str(caught.value) == (
        "no tensor to compress: 3 of fewer than 5000 elements (enc.weight, dec.weight, tiny); "
        "1 of fewer than two dimensions (enc.bias); 1 I64, not floating point (ids); 1 empty "
        "(none) (name tensors with -t, or lower --min-size)"
    )
    with pytest.raises(ConfigError, match="no tensor to compress: the model has no tensors"):
        select({}, (), 5000)


def test_select_names_the_file(arrays, tmp_path):
    save_file({"bias": arrays["enc.bias"]}, tmp_path / "m.safetensors")
    with pytest.raises(ConfigError) as caught:
        select(open_model(tmp_path / "m.safetensors"))
    assert str(caught.value).startswith(f"{tmp_path / 'm.safetensors'}: no tensor to compress: 1")


def test_select_leaves_out_what_is_excluded(arrays):
    model = as_model(arrays)
    assert select(model, (), 100, exclude=("enc.*",)) == ["dec.weight"]
    assert select(model, ("*.weight", "tiny"), 100, exclude=("dec.weight",)) == [
        "enc.weight",
        "tiny",
    ]
    with pytest.raises(ConfigError, match=r"exclude 'gone\*' matches no tensor \(there is: enc"):
        select(model, (), 100, exclude=("gone*",))
    for include, exclude in [("enc.*", "enc.*"), ("enc.weight", "enc.*")]:
        with pytest.raises(ConfigError, match=f"'{include}' is both included and excluded"):
            select(model, (include,), 100, exclude=(exclude,))
    with pytest.raises(ConfigError, match=r"2 excluded \(enc.weight, dec.weight\)"):
        select(model, (), 100, exclude=("*.weight",))


def test_select_refuses_what_is_compressed_already(arrays):
    model = as_model({"enc.weight": arrays["enc.weight"]})
    done = ["old.weight"]
    assert select(model, ("*.weight",), 100, done=done) == ["enc.weight"]
    tied = Checkpoint(model, ties={"head": "old.weight"})
    assert select(tied, (), 100, done=done, preset="transformer") == ["enc.weight"]
    with pytest.raises(ConfigError, match="tensor 'head' is compressed already"):
        select(tied, ("head",), 100, done=done)
    text = "tensor 'old.weight' is compressed already: leave it out, or decompress the file first"
    with pytest.raises(ConfigError, match=text):
        select(model, ("old.weight",), 100, done=done)
    with pytest.raises(ConfigError, match=r"1 compressed already \(old.weight\)"):
        select(as_model({}), (), 100, done=done)


def test_select_takes_a_name_that_stands_for_another_tensor(arrays):
    model = Checkpoint(as_model(arrays), ties={"head.weight": "enc.weight"})
    assert select(model, ("head.weight",), 100) == ["enc.weight"]
    assert select(model, (), 100, exclude=("head.*",)) == ["dec.weight"]
    tied = Checkpoint(as_model(arrays), ties={"word_embeddings.weight": "enc.weight"})
    assert select(tied, (), 100, preset="transformer") == ["dec.weight"]


TRANSFORMER = {
    "bert.embeddings.word_embeddings.weight": False,
    "model.embed_tokens.weight": False,
    "transformer.wte.weight": False,
    "lm_head.weight": False,
    "encoder.layer.0.attention.output.LayerNorm.weight": False,
    "h.0.ln_1.weight": False,
    "pooler.dense.weight": False,
    "encoder.block.0.SelfAttention.relative_attention_bias.weight": False,
    "encoder.layer.0.attention.self.query.weight": True,
    "model.layers.0.mlp.gate_proj.weight": True,
    "h.0.attn.c_attn.weight": True,
    "decoder.block.3.layer.1.EncDecAttention.q.weight": True,
}


def test_the_transformer_preset_leaves_embeddings_norms_and_pooler_alone():
    model = as_model(dict.fromkeys(TRANSFORMER, np.ones((20, 20), np.float32)))
    said = []
    kept = select(model, (), 100, preset="transformer", note=said.append)
    assert kept == [name for name, taken in TRANSFORMER.items() if taken]
    assert said == [
        "the preset transformer leaves 8 alone: bert.embeddings.word_embeddings.weight, "
        "model.embed_tokens.weight, transformer.wte.weight and 5 more"
    ]
    named = select(model, ("pooler.dense.weight",), 100, preset="transformer")
    assert named == ["pooler.dense.weight"], "a name goes before the preset"


def test_a_preset_that_leaves_nothing_alone_is_told():
    said = []
    model = as_model({"tokens": np.ones((20, 20), "f"), "norm": np.ones(20, "f")})
    assert select(model, (), 100, preset="transformer", note=said.append) == ["tokens"]
    assert said == ["the preset transformer leaves alone nothing that qualifies without it"]


def test_the_convolution_preset_leaves_the_first_layer_and_depthwise_ones_alone():
    shapes = {
        "features.0.weight": (32, 3, 3, 3),
        "grey.weight": (32, 1, 3, 3),
        "depthwise.weight": (64, 1, 3, 3),
        "pointwise.weight": (64, 32, 1, 1),
        "audio.depthwise": (64, 1, 9),
        "classifier.weight": (10, 64),
    }
    model = as_model({name: np.ones(shape, np.float32) for name, shape in shapes.items()})
    assert select(model, (), 100, preset="convolution") == ["pointwise.weight", "classifier.weight"]


def test_an_unknown_preset_is_refused(arrays):
    with pytest.raises(ConfigError, match="preset must be one of transformer, convolution, not"):
        select(as_model(arrays), (), 100, preset="rnn")
