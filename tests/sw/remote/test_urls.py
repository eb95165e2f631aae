# SPDX-License-Identifier: Apache-2.0
"""Files behind URLs: fetched once, put whole or not at all, told by the names that were given."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from xorloom.sw.remote import urls
from xorloom.sw.remote.urls import delivered, named_as_given, staged, url_of

from tests.helpers.cli import WINDOW, refuses, xorloom

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def far(tmp_path, monkeypatch):
    """A file system of another machine, and a cache of one's own."""
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path / "cache"))
    fs = fsspec.filesystem("memory")
    yield fs
    for path in fs.find("/"):
        fs.rm_file(path)
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def arrays(rng):
    return {f"m{k}": rng.standard_normal((64, 96)).astype("f") for k in range(3)}


def put(far, path, arrays, tmp_path):
    save_file(arrays, tmp_path / "local.safetensors")
    far.pipe_file(path, (tmp_path / "local.safetensors").read_bytes())


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/a/m.safetensors", "s3://bucket/a/m.safetensors"),
        ("memory://m.npz", "memory://m.npz"),
        ("file:///data/m.npz", "file:///data/m.npz"),
        ("gs://b/x y.npz", "gs://b/x y.npz"),
        ("/data/m.npz", None),
        ("m:/n.npz", None),
        ("a/b:/c", None),
        ("models", None),
    ],
)
def test_a_path_may_be_a_url(text, url):
    assert url_of(Path(text)) == url
    assert url_of(text) == url


def test_compress_and_decompress_from_and_to_urls(far, arrays, tmp_path):
    put(far, "/in/m.safetensors", arrays, tmp_path)
    words = ["--min-size", 100, *WINDOW]
    out, _ = xorloom(
        "compress", "memory://in/m.safetensors", "-o", "memory://out.safetensors", *words
    )
    assert "memory://out.safetensors: bits per weight" in out
    assert str(tmp_path) not in out
    xorloom("compress", tmp_path / "local.safetensors", "-o", tmp_path / "o.safetensors", *words)
    assert far.cat_file("/out.safetensors") == (tmp_path / "o.safetensors").read_bytes()
    out, _ = xorloom(
        "decompress", "memory://out.safetensors", "-o", f"file://{tmp_path}/p.safetensors"
    )
    assert out == f"{tmp_path}/p.safetensors: 3 tensors decoded\n"
    assert set(load_file(tmp_path / "p.safetensors")) == set(arrays)
    assert far.find("/") == ["/in/m.safetensors", "/out.safetensors"]
    assert not list((tmp_path / "cache" / "remote").glob("out-*"))


def test_a_folder_comes_and_goes(far, arrays, tmp_path):
    put(far, "/in/model.safetensors", arrays, tmp_path)
    far.pipe_file("/in/config.json", b'{"a": 1}')
    far.pipe_file("/in/sub/tokenizer.json", b"{}")
    far.pipe_file("/in/pytorch_model.bin", b"not fetched" * 10_000_000)
    far.pipe_file("/in/.git/x", b"hidden")
    xorloom("compress", "memory://in", "-o", "memory://out", "--min-size", 100, *WINDOW)
    names = [name.removeprefix("/out/") for name in far.find("/out")]
    assert names == ["config.json", "model.xl.safetensors", "sub/tokenizer.json"]
    words = ["compress", "memory://in", "-o", "memory://out", "--min-size", 100]
    refuses("memory://out: is a folder that is not empty", *words)


def test_an_index_brings_its_parts(far, arrays, tmp_path):
    for name in arrays:
        put(far, f"/in/{name}.safetensors", {name: arrays[name]}, tmp_path)
    index = {"weight_map": {name: f"{name}.safetensors" for name in arrays}}
    far.pipe_file("/in/model.safetensors.index.json", json.dumps(index).encode())
    found = staged("memory://in/model.safetensors.index.json")
    assert {p.name for p in found.parent.glob("*.safetensors")} == {
        f"{n}.safetensors" for n in arrays
    }


def test_what_has_not_changed_is_not_fetched_again(far, arrays, tmp_path, monkeypatch):
    put(far, "/m.safetensors", arrays, tmp_path)
    path = staged("memory://m.safetensors")
    assert urls.url_of_staged(path) == "memory://m.safetensors"
    assert named_as_given(f"{path}: no") == "memory://m.safetensors: no"
    opened = []
    known = type(far).open
    monkeypatch.setattr(type(far), "open", lambda *a, **k: opened.append(a) or known(*a, **k))
    assert staged("memory://m.safetensors") == path
    assert opened == []
    arrays["m0"] *= 2
    put(far, "/m.safetensors", arrays, tmp_path)
    assert (load_file(staged("memory://m.safetensors"))["m0"] == arrays["m0"]).all()
    assert opened
    path.write_bytes(b"damaged and longer")
    assert (load_file(staged("memory://m.safetensors"))["m0"] == arrays["m0"]).all()


def test_what_is_wrong_is_told_by_its_url(far, arrays, tmp_path):
    out = tmp_path / "c.safetensors"
    refuses(
        "memory://no.safetensors: no such file", "compress", "memory://no.safetensors", "-o", out
    )
    refuses("nonsense://m: Protocol not known", "compress", "nonsense://m", "-o", out)
    put(far, "/m.safetensors", {"w": arrays["m0"] * np.nan}, tmp_path)
    words = ["compress", "memory://m.safetensors", "-o", out, "--min-size", 100]
    refuses("memory://m.safetensors: tensor 'w': weight at (0, 0) is nan", *words)
    assert not out.exists()


def test_a_protocol_without_its_package_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    words = ["compress", "s3://b/m.safetensors", "-o", tmp_path / "c.safetensors"]
    refuses("s3://b/m.safetensors: Install s3fs to access S3 (with pip, into", *words, code=3)


def test_where_nothing_may_be_written_is_told_before_the_work(far, tmp_path, monkeypatch):
    def refuse(*_args, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(far), "pipe_file", refuse)
    with pytest.raises(OSError, match=r"cannot write memory://x/c\.npz: .*Permission denied"):
        delivered("memory://x/c.npz").__enter__()


def test_what_cannot_be_put_there_stays_here(far, tmp_path, monkeypatch):
    made = []

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    def run():
        with delivered("memory://x/c.npz") as path:
            made.append(path)
            path.write_bytes(b"work of days")
            monkeypatch.setattr(type(far), "open", full)

    with pytest.raises(OSError, match="No space left on device; what was made is kept") as caught:
        run()
    assert made[0].read_bytes() == b"work of days"
    assert str(made[0]) in named_as_given(str(caught.value))
    assert not far.exists("/x/c.npz")


def test_a_run_that_ended_early_is_resumed(far, arrays, tmp_path):
    arrays["m2"][3, 3] = np.nan
    put(far, "/m.safetensors", arrays, tmp_path)
    words = ["compress", "memory://m.safetensors", "-o", "memory://c.safetensors", "--resume"]
    words += ["--min-size", 100, "--jobs", 1, *WINDOW]
    refuses("tensor 'm2': weight at (3, 3) is nan", *words)
    arrays["m2"][3, 3] = 0
    put(far, "/m.safetensors", arrays, tmp_path)
    _, told = xorloom(*words)
    assert "memory://c.safetensors.resume: 2 tensors and blocks were done already" in told
    assert far.find("/") == ["/c.safetensors", "/m.safetensors"]
    assert not list((tmp_path / "cache" / "remote").glob("out-*"))
