# SPDX-License-Identifier: Apache-2.0
"""Value codec as a user asks for it: some parameters given, the others made to fit them."""

from collections.abc import Mapping
from fractions import Fraction
from itertools import chain
from typing import Any

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.toml_text import toml_key

from .codecs import VALUE_CODECS
from .config import BlockConfig, ValueConfig, WindowConfig, lanes_for
from .direct_preset import direct_config

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
    "direct": ("window", "taps", "rate"),
}
"""Parameters that not all codecs have."""
_SHARED = ("n_in", "n_out", "bus_bits", "network_seed")
VALUE_PARAMETERS = tuple(
    name
    for name in dict.fromkeys((*_SHARED, *chain.from_iterable(OWN_PARAMETERS.values())))
    if name != "rate"
)
"""Parameters of all codecs that are whole numbers."""


def value_config(codec: str, given: Mapping[str, int | Fraction]) -> ValueConfig:
    """Return the configuration of a value codec for the parameters that are given.

    Parameters
    ----------
    codec : str
        One of :data:`xorloom.sw.spec.codecs.VALUE_CODECS`.
    given : mapping of name to int
        Some of :data:`VALUE_PARAMETERS`; of the direct codec also ``rate``, a Fraction, and
        ``planes``.

    Raises
    ------
    ConfigError
        If a parameter is out of range or belongs to another codec, or the direct codec has no
        network for them.
    """
    if codec not in VALUE_CODECS:
        raise ConfigError(f"value codec must be {', '.join(VALUE_CODECS)}, not {codec!r}")
    for name in given:
        owners = [owner for owner, names in OWN_PARAMETERS.items() if name in names]
        if owners and codec not in owners:
            raise ConfigError(
                f"--{toml_key(name)} belongs to --value {' or '.join(owners)}, not {codec}"
            )
    found: dict[str, Any] = dict(given)
    if codec == "direct":
        return direct_config(**found)
    if codec == "block":
        n_in = found.get("n_in", BlockConfig.n_in)
        found.setdefault("lanes", lanes_for(n_in, found.get("bus_bits", BlockConfig.bus_bits)))
        return BlockConfig(**found)
    n_out = found.get("n_out", WindowConfig.n_out)
    found.setdefault("window", max(WindowConfig.window, n_out))
    found.setdefault("shared", n_out // 2 if found.get("shared_taps", 3) else 0)
    return WindowConfig(**found)
