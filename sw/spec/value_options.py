# SPDX-License-Identifier: Apache-2.0
"""Value codec as a user asks for it: some parameters given, the others made to fit them."""

from collections.abc import Mapping

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.toml_text import toml_key

from .config import BlockConfig, ValueConfig, WindowConfig, lanes_for

__all__ = ["OWN_PARAMETERS", "VALUE_PARAMETERS", "value_config"]

OWN_PARAMETERS = {
    "window": (
        "window",
        "own_taps",
        "shared_taps",
        "shared",
        "parity_taps",
        "frame",
        "patches",
    ),
    "block": ("lanes", "patches_per_cycle", "block_groups"),
}
"""Parameters of one codec only."""
_SHARED = ("n_in", "n_out", "bus_bits", "network_seed")
VALUE_PARAMETERS = (*_SHARED, *OWN_PARAMETERS["window"], *OWN_PARAMETERS["block"])
"""Parameters of all codecs."""


def value_config(codec: str, given: Mapping[str, int]) -> ValueConfig:
    """Return the configuration of a value codec for the parameters that are given.

    Parameters
    ----------
    codec : str
        ``window`` or ``block``.
    given : mapping of name to int
        Some of :data:`VALUE_PARAMETERS`.

    Raises
    ------
    ConfigError
        If a parameter is out of range or belongs to the other codec.
    """
    if codec not in OWN_PARAMETERS:
        raise ConfigError(f"value codec must be window or block, not {codec!r}")
    for owner, names in OWN_PARAMETERS.items():
        for name in names:
            if owner != codec and name in given:
                raise ConfigError(f"--{toml_key(name)} belongs to --value {owner}, not {codec}")
    found = dict(given)
    if codec == "block":
        n_in = found.get("n_in", BlockConfig.n_in)
        found.setdefault("lanes", lanes_for(n_in, found.get("bus_bits", BlockConfig.bus_bits)))
        return BlockConfig(**found)
    n_out = found.get("n_out", WindowConfig.n_out)
    found.setdefault("window", max(WindowConfig.window, n_out))
    found.setdefault("shared", n_out // 2 if found.get("shared_taps", 3) else 0)
    return WindowConfig(**found)
