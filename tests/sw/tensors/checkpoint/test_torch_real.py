# SPDX-License-Identifier: Apache-2.0
"""Files that torch itself wrote; skipped where it is not installed."""

import argparse
import io
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.tensors.checkpoint import open_model

torch = pytest.importorskip("torch", reason="make setup EXTRAS=torch")

W = torch.arange(24, dtype=torch.float32).reshape(4, 6) - 12


@pytest.fixture
def opened(tmp_path):
    def save_and_open(state, name="m.pt", **how):
        torch.save(state, tmp_path / name, **how)
        return open_model(tmp_path / name)

    return save_and_open


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.bin", "m.ckpt"])
def test_nested_checkpoint_is_walked_whole(name, zipped, opened):
    state = {
        "model": OrderedDict(w=torch.nn.Parameter(W), b=W[0].bfloat16()),
        "running": W + 1,
        "args": argparse.Namespace(lr=0.1),
        "optimizer": {"lr": 0.1, "state": {0: {"step": 3, "momentum": W + 2}}},
        "layers": [W + 3, (W + 4, {"a": W + 5})],
    }
    model = opened(state, name, _use_new_zipfile_serialization=zipped)
    names = "model.w model.b running optimizer.state.0.momentum layers.0 layers.1.0 layers.1.1.a"
    assert list(model) == names.split()
    assert model["model.b"].dtype == "BF16"
    assert model["model.b"].weights().tolist() == W[0].tolist()
    assert np.array_equal(model["layers.1.1.a"].load(), (W + 5).numpy())
    assert model.notes == ("left out, not tensors: args, optimizer.lr, optimizer.state.0.step",)


@pytest.mark.parametrize(
    ("dtype", "known"),
    [
        ("bool", "BOOL"),
        ("uint8", "U8"),
        ("int8", "I8"),
        ("uint16", "U16"),
        ("int16", "I16"),
        ("uint32", "U32"),
        ("int32", "I32"),
        ("uint64", "U64"),
        ("int64", "I64"),
        ("float16", "F16"),
        ("bfloat16", "BF16"),
        ("float32", "F32"),
        ("float64", "F64"),
        ("float8_e4m3fn", "F8_E4M3"),
        ("float8_e5m2", "F8_E5M2"),
        ("float8_e4m3fnuz", "F8_E4M3FNUZ"),
        ("float8_e5m2fnuz", "F8_E5M2FNUZ"),
        ("float8_e8m0fnu", "F8_E8M0"),
        ("complex64", "C64"),
    ],
)
def test_bytes_are_those_that_safetensors_would_store(dtype, known, opened, tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    made = W.abs().to(getattr(torch, dtype))
    state = {"w": made, "scalar": made[0, 1].clone(), "empty": made[:0].clone()}
    model = opened(state)
    save_file({name: t.contiguous() for name, t in state.items()}, tmp_path / "m.safetensors")
    other = open_model(tmp_path / "m.safetensors")
    for name in state:
        assert model[name].dtype == other[name].dtype == known
        assert model[name].shape == other[name].shape
        assert model[name].raw() == other[name].raw()
        assert not model[name].foreign


def test_four_bit_floats_are_counted_as_safetensors_counts_them(opened, tmp_path):
    if not hasattr(torch, "float4_e2m1fn_x2"):
        pytest.skip("this torch has no four-bit floats")
    save_file = pytest.importorskip("safetensors.torch").save_file
    state = {"w": torch.arange(8, dtype=torch.uint8).reshape(2, 4).view(torch.float4_e2m1fn_x2)}
    save_file(state, tmp_path / "m.safetensors")
    one, other = opened(state)["w"], open_model(tmp_path / "m.safetensors")["w"]
    assert (one.dtype, one.shape) == (other.dtype, other.shape) == ("F4", (2, 8))
    assert one.raw() == other.raw()


ODD = {
    "qint8": lambda: torch.quantize_per_tensor(W, 0.1, 0, torch.qint8),
    "rows": lambda: torch.quantize_per_tensor(W.repeat(99, 9), 0.1, 0, torch.qint8)[:2],
    "channel": lambda: torch.quantize_per_channel(
        W, torch.ones(4), torch.zeros(4), 0, torch.quint8
    ),
    "coo": lambda: W.to_sparse(),
    "csr": lambda: W.to_sparse_csr(),
    "complex32": lambda: W.to(torch.complex32),
    "complex128": lambda: W.to(torch.complex128),
    "conj": lambda: (W + 1j * W).to(torch.complex128).conj(),
    "nested": lambda: torch.nested.nested_tensor([W, W[:2]]),
}


@pytest.mark.filterwarnings("ignore")  # of torch, about its prototypes
@pytest.mark.parametrize("odd", ODD)
def test_other_types_restore_exactly_and_without_running_code(odd, opened):
    made = ODD[odd]()
    model = opened({"w": W, "odd": made})
    tensor = model["odd"]
    assert tensor.foreign == "torch"
    assert str(made.dtype) in tensor.dtype
    assert tensor.raw() == tensor.raw()
    assert len(tensor.raw()) < 4096, "the whole storage of a view was kept"
    restored = torch.load(io.BytesIO(tensor.raw()), weights_only=True)
    assert (restored.dtype, restored.layout) == (made.dtype, made.layout)
    if made.is_nested:
        assert all(map(torch.equal, restored.unbind(), made.unbind()))
    elif made.is_quantized:
        assert torch.equal(restored.int_repr(), made.int_repr())
        assert torch.equal(restored.dequantize(), made.dequantize())
    else:
        assert torch.equal(
            restored.to_dense().to(torch.complex128), made.to_dense().to(torch.complex128)
        )
    assert np.array_equal(model["w"].load(), W.numpy())


def test_conjugate_and_negative_views_are_resolved(opened):
    made = W + 2j * W
    model = opened({"conj": made.conj(), "neg": made.clone().conj().imag})
    assert np.array_equal(model["conj"].load(), made.conj().resolve_conj().numpy())
    assert np.array_equal(model["neg"].load(), -2 * W.numpy())
    model = opened({"made": made, "conj": made.conj(), "same": made.conj()})
    assert model.ties == {"same": "conj"}
    assert np.array_equal(model["conj"].load(), made.numpy().conj())


@pytest.mark.parametrize("zipped", [True, False])
def test_tied_weights_are_kept_once(zipped, opened):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(10, 10)
            self.head = torch.nn.Linear(10, 10, bias=False)
            self.head.weight = self.embed.weight

    state = Net().state_dict()
    weight = state["embed.weight"]
    views = {"turned": weight.t(), "half": weight[5:], "empty": weight[:0], "flat": weight.view(-1)}
    model = opened(state | views, _use_new_zipfile_serialization=zipped)
    assert list(model) == ["embed.weight", *views]
    assert model.ties == {"head.weight": "embed.weight"}
    assert np.array_equal(model["turned"].load(), weight.numpy().T)
    assert np.array_equal(model["half"].load(), weight.numpy()[5:])
    assert len(model.notes) == 1
    assert model.notes[0].startswith("views of the same memory, stored as tensors of their own: ")


@pytest.mark.parametrize("file", ["torch", "safetensors"])
def test_pruned_module_is_its_weights(file, opened, tmp_path):
    from torch.nn.utils import prune

    net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Conv2d(3, 4, 3))
    prune.random_unstructured(net[0], "weight", 0.9)
    prune.l1_unstructured(net[0], "bias", 0.5)
    prune.ln_structured(net[1], "weight", 0.5, 2, 0)
    if file == "torch":
        model = opened({"state_dict": net.state_dict()})
        prefix = "state_dict."
    else:
        pytest.importorskip("safetensors.torch").save_file(
            net.state_dict(), tmp_path / "m.safetensors"
        )
        model, prefix = open_model(tmp_path / "m.safetensors"), ""
    assert {n.removeprefix(prefix) for n in model if model[n].pruned} == {
        "0.weight",
        "0.bias",
        "1.weight",
    }
    assert len(model) == 4
    for name in ("0.weight", "0.bias", "1.weight"):
        module, _, own = name.partition(".")
        wanted = getattr(net[int(module)], own).detach().numpy()
        assert np.array_equal(model[prefix + name].load(), wanted)


class Own(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (
            {"w": W, "best": np.float64(3)},
            r"holds objects of Python \(numpy\S*\.scalar\), which",
        ),
        (torch.nn.Linear(2, 2), r"holds objects of Python \(torch\.nn\.modules\.linear\.Linear\)"),
        ({"w": W.as_subclass(Own)}, r"holds objects of Python \(\S*Own\), which are not loaded"),
        ({"w": torch.empty(2, device="meta")}, "tensor 'w' is on the meta device: only its shape"),
        ({"epoch": 3}, "holds no tensor, but dict of epoch: save the weights alone"),
    ],
)
def test_what_is_refused_says_what_to_do(state, text, opened):
    with pytest.raises(FormatError, match=rf"m\.pt: {text}") as caught:
        opened(state)
    assert "weights_only" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # of torch: TorchScript is old
def test_torchscript_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "m.pt")
    with pytest.raises(ConfigError, match=r"m\.pt is a TorchScript program: load it with torch"):
        open_model(tmp_path / "m.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_are_refused(zipped, tmp_path):
    path = tmp_path / "m.pt"
    torch.save({"w": W}, path, _use_new_zipfile_serialization=zipped)
    assert zipfile.is_zipfile(path) == zipped
    data = path.read_bytes()
    for cut in (b"", data[:20], data[: len(data) // 2], data[:-9], b"x" * 99, b"\x80\x02garbage"):
        path.write_bytes(cut)
        with pytest.raises(FormatError) as caught:
            open_model(path)
        assert str(caught.value) == f"{path}: is no file of torch.save, or damaged: get it again"
