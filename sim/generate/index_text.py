# SPDX-License-Identifier: Apache-2.0
"""Index codecs as texts that hold all their parameters, such as ``trellis:n_in=84,window=14,...``.

``n_out`` and ``bus_bits`` are not in the text: the value codec and the planes decide them.
"""

import re
from dataclasses import fields

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.weight_format import mask_lanes

__all__ = ["has_parameters", "index_from_text", "index_text"]

_DECIDED = ("n_out", "bus_bits")


def has_parameters(text: str) -> bool:
    """Whether a text gives a codec's parameters, not its name alone."""
    return ":" in text


def index_text(config: IndexConfig) -> str:
    """Return the text of an index codec with all its parameters; a codec without any: its name."""
    own = {name: value for name, value in config.to_dict().items() if name not in _DECIDED}
    return ":".join([config.codec, *filter(None, [",".join(f"{n}={v}" for n, v in own.items())])])


def index_from_text(text: str, value: ValueConfig, planes: int) -> IndexConfig:
    """Return the index codec that a text of :func:`index_text` means, beside a value codec.

    Parameters
    ----------
    text : str
        Name of a codec, a colon, and each of its parameters once, in any order.
    value : ValueConfig
    planes : int

    Raises
    ------
    ConfigError
        If the codec is unknown, or a parameter is missing, unknown, given twice or out of range.
    """
    codec, _, listed = text.partition(":")
    if codec not in INDEX_CODECS:
        raise ConfigError(f"index must be one of {', '.join(INDEX_CODECS)}, not {codec!r}")
    kind = INDEX_CODECS[codec]
    known = [field.name for field in fields(kind) if field.name not in _DECIDED]  # type: ignore[arg-type]
    form = f"{codec}:{','.join(f'{name}=...' for name in known)}" if known else codec
    given: dict[str, int] = {}
    for part in listed.split(","):
        match = re.fullmatch(r"\s*(\w+)\s*=\s*(\d+)\s*", part)
        if match is None or match[1] in given:
            raise ConfigError(f"index {text!r}: {part!r} is not one of its parameters: give {form}")
        given[match[1]] = int(match[2])
    if set(given) != set(known):
        odd = ", ".join(sorted(set(given) ^ set(known)))
        raise ConfigError(f"index {text!r}: missing or unknown {odd}: give {form}")
    return kind(n_out=mask_lanes(value, planes), bus_bits=value.bus_bits, **given)  # type: ignore[call-arg]
