# SPDX-License-Identifier: Apache-2.0
"""Schema of the JSON that the report reads: kinds of results, their keys and types."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xorloom.sw.base.errors import FormatError

__all__ = ["KINDS", "TENSOR", "Kind", "check", "check_row"]


@dataclass(frozen=True)
class Kind:
    """Kind of result.

    Parameters
    ----------
    name : str
    verbs : tuple of str
        Commands that make it, without ``xorloom`` and without options.
    row : mapping
        Keys of a row and their types, see :func:`check`.
    facts : mapping
        Keys of the object that holds the rows.
    rows : str
        Where in the object the rows are.
    exact : mapping
        Further keys of a row whose ``bit_exact`` is true.
    one : bool
        Whether the object itself is the only row.
    mark : str
        Key that tells this kind from others of the same command.
    """

    name: str
    verbs: tuple[str, ...]
    row: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    rows: str = "rows"
    exact: Mapping[str, str] = field(default_factory=dict)
    one: bool = False
    mark: str = ""


TENSOR = {
    **dict.fromkeys(("weights", "kept", "planes", "index", "seeds", "control"), "count"),
    **dict.fromkeys(("scales", "overhead"), "count"),
    **dict.fromkeys(("mask_entropy", "value_entropy"), "number"),
    **dict.fromkeys(("error", "share_of_dense_bound"), "number?"),
}
"""Keys of a tensor's bits and error, see :mod:`xorloom.sw.model.metrics`."""
_VALUE = {
    "codec": "text",
    "sparsity": "number",
    "n_in": "count",
    "n_out": "count",
    "bits_per_weight": "number",
    "efficiency": "number",
    "lossless": "flag",
}
_SYNTH = {
    "design": "text",
    "target": "text",
    "lut": "number?",
    "ff": "number",
    "fmax_mhz": "number?",
    "fmax_min_mhz": "number?",
}
KINDS = (
    Kind(
        "demo",
        ("demo",),
        facts={"bits": "map", "config": "map", "index": "map", "simulation": "map"},
    ),
    Kind("bits", ("inspect", "compress"), facts={"tensors": "map"}),
    Kind(
        "kept",
        (),
        {
            "tensor": "text",
            **dict.fromkeys(("density", "index_bits", "kept", "kept_bound"), "number"),
        },
    ),
    Kind(
        "simulation",
        ("simulate",),
        {"case": "text", "bit_exact": "flag", "weights": "count", "bus_bits": "count"},
        exact={
            "cycles": "count",
            "model_cycles": "number",
            **dict.fromkeys(("cycles_to_model", "weights_per_cycle"), "number"),
        },
        one=True,
    ),
    # Each row of bench area names the command that makes this row alone.
    Kind("area", ("bench area", "synth"), _SYNTH, mark="lut_per_weight_bit"),
    Kind(
        "ratio",
        ("bench area",),
        {"design": "text", "paper": "text", "target": "text", "ratio": "number"},
        mark="ratio",
    ),
    Kind(
        "units",
        ("synth",),
        {"unit": "text", "lut": "number", "ff": "number", "lut_ram": "number"},
        {"design": "text"},
        mark="design",
    ),
    Kind("synthesis", ("synth",), _SYNTH, {"config": "map"}, mark="config"),
    Kind(
        "bandwidth",
        ("bandwidth",),
        {"title": "text", "bus_mbytes_per_s": "number", "mweights_per_s": "map"},
        {"clock_mhz": "number", "bus_bits": "count", "bits_per_weight": "map"},
    ),
    Kind("value", ("bench value",), _VALUE),
    Kind("matrices", ("bench matrices",), {**_VALUE, "matrices": "count"}),
    Kind(
        "curve",
        ("bench curve",),
        {
            "sparsity": "number",
            "n_in": "count",
            "n_out": "count",
            **dict.fromkeys(("bits_per_weight", "seeds", "control", "patches"), "number"),
        },
    ),
    Kind(
        "index",
        ("bench index",),
        {
            "codec": "text",
            "tensor": "text",
            **dict.fromkeys(("density", "rate", "kept", "kept_bound"), "number"),
            **dict.fromkeys(("error", "share_of_dense_bound"), "number"),
        },
    ),
    Kind(
        "total",
        ("bench total",),
        {
            "case": "text",
            "index": "text",
            "density": "number",
            "index_bits": "number",
            "bits_per_weight": "number",
            **dict.fromkeys(("kept", "error", "share_of_dense_bound"), "number"),
            "lossless": "flag",
        },
    ),
    Kind(
        "rate",
        ("bench rate",),
        {
            **dict.fromkeys(("codec", "source", "options"), "text"),
            **dict.fromkeys(("rate_bits", "error", "bound_bits_gap", "energy"), "number"),
            **dict.fromkeys(("energy_share_of_bound", "share_of_dense_bound"), "number"),
            **dict.fromkeys(("lut4_per_weight", "fmax_mhz", "mweights_per_s"), "number?"),
        },
    ),
    Kind(
        "accuracy",
        ("bench accuracy",),
        {
            **dict.fromkeys(("network", "data", "method", "metric"), "text"),
            **dict.fromkeys(("density", "index_bits", "bits_per_weight", "accuracy"), "number"),
            **dict.fromkeys(("dense_accuracy", "epochs"), "number"),
            "accuracy_std": "number?",
            "accuracy_loss_from_codec": "number",
            **dict.fromkeys(("planes", "seeds"), "count"),
        },
    ),
    Kind(
        "bus",
        ("bench bus",),
        {
            "design": "text",
            "memory": "text",
            "case": "text",
            "sparsity": "number",
            "bits_per_weight": "number",
            "bit_exact": "flag",
        },
        exact=dict.fromkeys(("bus_mbytes_per_s", "mweights_per_s", "of_memory"), "number"),
    ),
    Kind(
        "explore",
        ("explore",),
        {
            "bits_per_weight": "number",
            "pareto": "flag",
            **dict.fromkeys(("lut", "fmax_mhz", "mweights_per_s"), "number?"),
        },
    ),
    *(Kind("table", (f"bench {name}",)) for name in ("speed", "index-speed", "taps", "scale")),
    *(Kind("table", (f"bench {name}",)) for name in ("profile", "embeddings", "peers")),
    Kind("boards", ("boards",), {"board": "text", "clock_mhz": "number", "fmax_mhz": "number"}),
    Kind("table", ("verify",), rows="tensors"),
)
"""All kinds that the report knows; of several for one command, the first with its mark counts."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_CHECKS = {
    "text": ("a text", lambda v: isinstance(v, str)),
    "flag": ("true or false", lambda v: isinstance(v, bool)),
    "number": ("a number", _is_number),
    "number?": ("a number or null", lambda v: v is None or _is_number(v)),
    "count": (
        "an integer from 0",
        lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
    ),
    "map": ("an object", lambda v: isinstance(v, dict)),
    "list": ("a list", lambda v: isinstance(v, list)),
    "wave": (
        "an object of equally long texts of 0 and 1",
        lambda v: (
            isinstance(v, dict)
            and all(isinstance(w, str) and not set(w) - {"0", "1"} for w in v.values())
            and len({len(w) for w in v.values()}) == 1
        ),
    ),
}


def check(item: Any, keys: Mapping[str, str], place: str) -> None:
    """Check that an object has keys of certain types.

    Raises
    ------
    FormatError
        If it is not an object, or a key is missing or of another type; names place and key.
    """
    if not isinstance(item, dict):
        raise FormatError(f"{place}: expected an object, found {type(item).__name__}")
    for key, kind in keys.items():
        what, fits = _CHECKS[kind]
        if key not in item:
            found = ", ".join(map(str, item)) or "nothing"
            raise FormatError(f"{place}: no {key!r}, expected {what} (found {found})"[:500])
        if not fits(item[key]):
            raise FormatError(f"{place}: {key} must be {what}, found {item[key]!r}"[:500])


def check_row(item: Any, kind: Kind, place: str) -> None:
    """Check a row of a kind, see :func:`check`."""
    check(item, kind.row, place)
    if kind.exact and item["bit_exact"]:
        check(item, kind.exact, place)
