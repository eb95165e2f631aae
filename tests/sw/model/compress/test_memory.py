# SPDX-License-Identifier: Apache-2.0
"""Peak memory on a synthetic checkpoint in shards: what passes through is copied, not held."""

import json
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from xorloom.sw.base.errors import FormatError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.plan.source import open_source
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.safetensors_file import header_bytes

from tests.helpers.models import as_model, spec

MIB = 1 << 20
PEAK = """
import sys
from pathlib import Path
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan.source import open_source
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import EntropyConfig
source = open_source(Path(sys.argv[1]))
spec = CompressSpec(config=WindowConfig(), include=("*.w",), index=EntropyConfig())
plans = {} if source.base else spec
compress_model(source.model, Path(sys.argv[2]), plans, base=source.base, jobs=int(sys.argv[3]))
status = Path("/proc/self/status").read_text()
print(status.split("VmHWM:")[1].split()[0])
"""


def write_shards(folder, rng, rows, matrix=(256, 512)):
    """Write two shards and their index, as Hugging Face lays them out: bf16.

    Each has a matrix to compress behind one of ``rows`` times 1,024 to leave alone. The latter has
    a row of values, and is a hole in the file otherwise.
    """
    folder.mkdir()
    places, first = {}, rng.standard_normal(1024).astype(ml_dtypes.bfloat16).tobytes()
    for k in range(2):
        name = f"model-{k + 1:05}-of-00002.safetensors"
        small = rng.standard_normal(matrix).astype(ml_dtypes.bfloat16)
        shapes = {f"{k}.embedding": (rows, 1024), f"{k}.w": small.shape}
        header = header_bytes({n: ("BF16", s, 2 * s[0] * s[1]) for n, s in shapes.items()}, {})
        with (folder / name).open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + first)
            file.seek(rows * 2048 - len(first), 1)
            file.write(small.tobytes())
        places |= dict.fromkeys(shapes, name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def peak_bytes(source, out, jobs=2):
    """Peak resident memory of a process that compresses.

    Not ``ru_maxrss``: that begins with what the parent had.
    """
    words = [sys.executable, "-c", PEAK, str(source), str(out), str(jobs)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return 1024 * int(done.stdout)


def test_what_passes_through_takes_no_memory(rng, tmp_path):
    small = peak_bytes(write_shards(tmp_path / "s", rng, 8), tmp_path / "s.safetensors")
    large = peak_bytes(write_shards(tmp_path / "l", rng, 1 << 15), tmp_path / "l.safetensors")
    assert large < small + 16 * MIB  # of two tensors of 64 MiB
    again = peak_bytes(tmp_path / "l.safetensors", tmp_path / "a.safetensors")
    assert again < small + 16 * MIB
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "l.safetensors").read_bytes()
    model, found = open_model(tmp_path / "l"), read_container(tmp_path / "l.safetensors")
    assert list(found.order) == list(model)
    assert list(found.tensors) == ["0.w", "1.w"]
    for name in found.untouched:
        assert found.raw(name) == model[name].raw()


@pytest.mark.long
@pytest.mark.parametrize("jobs", [1, 2])
def test_every_job_takes_as_much_as_is_stated(jobs, rng, tmp_path):
    """docs/limits.md, Files."""
    # The first run compiles kernels, which takes memory as well.
    peak_bytes(write_shards(tmp_path / "s", rng, 8), tmp_path / "c", jobs)
    shape = (2048, 2048)
    peak = peak_bytes(write_shards(tmp_path / "m", rng, 8, shape), tmp_path / "c", jobs)
    assert peak < 200 * MIB + jobs * 25 * shape[0] * shape[1]


def test_a_shard_that_is_cut_off_under_way_is_told_of(rng, tmp_path):
    folder = write_shards(tmp_path / "m", rng, 64)
    source = open_source(folder)
    shard = folder / "model-00002-of-00002.safetensors"
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size - (256 * 512 * 2) - 1)
    wanted = r"00002-of-00002\.safetensors: tensor '1\.embedding': .* ends 1 bytes early"
    with pytest.raises(FormatError, match=wanted):
        compress_model(source.model, tmp_path / "c", spec(include=("0.w",)))
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_damage_of_what_is_copied_is_found(rng, tmp_path):
    arrays = {"a": rng.standard_normal((20, 30)).astype("f"), "b": np.ones(7, "f")}
    compress_model(as_model(arrays), tmp_path / "c.safetensors", spec())
    source = open_source(tmp_path / "c.safetensors")
    data = bytearray((tmp_path / "c.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "c.safetensors").write_bytes(data)
    with pytest.raises(FormatError, match="tensor 'b' is damaged: CRC-32"):
        compress_model(source.model, tmp_path / "d", {}, base=source.base)
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]
