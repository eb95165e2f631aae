# SPDX-License-Identifier: Apache-2.0
"""``compress`` decodes what it wrote if it is asked to, and only then."""

import json
from pathlib import Path

import numpy as np
import pytest
from xorloom.sw.base.errors import FormatError

from tests.helpers.cli import xorloom


@pytest.fixture(params=["bitmap", "trellis"])
def arguments(request: pytest.FixtureRequest, tmp_path: Path) -> list[object]:
    rng = np.random.default_rng(4)
    np.savez(tmp_path / "m.npz", w=rng.standard_normal((64, 80)), bias=np.ones(3))
    options = ["--index", request.param, *(["--index-window", 6] * (request.param == "trellis"))]
    return ["compress", tmp_path / "m.npz", "-o", tmp_path / "c.safetensors", *options]


@pytest.fixture
def damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every compressed tensor decodes to something else."""

    def refuse(*_: object) -> None:
        raise FormatError("w: mask and codes must have CRC-32 00000001, decoded 00000002")

    for name in ("verify_tensor", "verify_packed"):
        monkeypatch.setattr(f"xorloom.sw.model.verify.{name}", refuse)


def test_compress_verifies_if_asked(arguments: list[object]) -> None:
    text, _ = xorloom(*arguments, "--verify")
    assert text.endswith("2 of 2 tensors are bit-exact\n")
    plain = json.loads(xorloom(*arguments, "--json")[0])
    report = json.loads(xorloom(*arguments, "--json", "--verify")[0])
    assert report.pop("verify") == {
        "ok": True,
        "tensors": [{"tensor": name, "ok": True, "message": ""} for name in ("w", "bias")],
    }
    assert report | {"command": ""} == plain | {"command": ""}


@pytest.mark.usefixtures("damage")
def test_compress_exits_with_1_if_the_file_does_not_verify(arguments: list[object]) -> None:
    text, _ = xorloom(*arguments, "--verify", code=1)
    assert "FAILED w: mask and codes must have CRC-32" in text
    assert text.endswith("1 of 2 tensors are bit-exact\n")
    report = json.loads(xorloom(*arguments, "--json", "--verify", code=1)[0])
    assert report["verify"]["ok"] is False


@pytest.mark.usefixtures("damage")
def test_compress_decodes_nothing_if_not_asked(arguments: list[object]) -> None:
    text, _ = xorloom(*arguments)
    assert "bit-exact" not in text
    assert "verify" not in json.loads(xorloom(*arguments, "--json")[0])
