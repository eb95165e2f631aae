# SPDX-License-Identifier: Apache-2.0
"""Baseline decoders by name."""

from typing import Any

from amaranth.lib import wiring
from xorloom.hw.baselines.bitmask import BaselineBitmask
from xorloom.hw.baselines.csr import BaselineCsr
from xorloom.hw.baselines.dense import BaselineDense
from xorloom.hw.baselines.rice import BaselineRice
from xorloom.sim.bench.baselines.config import BaselineConfig

_UNITS: dict[str, Any] = {
    "dense": BaselineDense,
    "bitmask": BaselineBitmask,
    "csr": BaselineCsr,
    "rice": BaselineRice,
}
NAMES = tuple(_UNITS)


def unit(name: str, config: BaselineConfig) -> wiring.Component:
    """Return a baseline decoder."""
    widths = {"bus_bits": config.bus_bits, "n_out": config.n_out, "planes": config.planes}
    if name == "rice":
        widths["lanes"] = config.lanes
    found: wiring.Component = _UNITS[name](**widths)
    return found
