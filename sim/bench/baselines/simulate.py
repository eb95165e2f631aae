# SPDX-License-Identifier: Apache-2.0
"""Simulation of baseline decoders on the memory model, behind the IP block's read master."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from amaranth.lib import wiring
from xorloom.hw.baselines.bitmask import BaselineBitmask
from xorloom.hw.baselines.common import BASELINE_HEADER_BYTES
from xorloom.hw.baselines.csr import BaselineCsr
from xorloom.hw.baselines.dense import BaselineDense
from xorloom.hw.baselines.rice import BaselineRice
from xorloom.hw.baselines.shell import BaselineShell
from xorloom.hw.flow.export import component_verilog
from xorloom.sim.simulate.bus import BusResult, run_job
from xorloom.sim.simulate.packets import Packet, beat_bytes_of, ones
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.layout import BeatLayout, padded

from .config import BaselineConfig
from .streams import BASELINES

__all__ = ["baseline_top", "simulate_baseline"]

_CORES: dict[str, Any] = {
    "dense": BaselineDense,
    "bitmask": BaselineBitmask,
    "csr": BaselineCsr,
    "rice": BaselineRice,
}


@lru_cache(maxsize=8)
def baseline_top(
    name: str, config: BaselineConfig, outstanding: int = 4, max_burst: int = 256
) -> str:
    """Return the Verilog of a baseline decoder behind the IP block's read master."""
    if name not in BASELINES:
        raise ConfigError(f"a baseline is one of {', '.join(BASELINES)}, not {name!r}")
    widths = {"bus_bits": config.bus_bits, "n_out": config.n_out, "planes": config.planes}
    core: wiring.Component = _CORES[name](
        **widths, **({"lanes": config.lanes} if name == "rice" else {})
    )
    shell = BaselineShell(core, outstanding=outstanding, max_burst=max_burst)
    return component_verilog(shell, f"baseline_{name}")


def simulate_baseline(
    name: str,
    streams: Sequence[bytes],
    weights: Sequence[tuple[np.ndarray, np.ndarray]],
    config: BaselineConfig,
    *,
    memory: str = "ideal",
    clock_mhz: float = 100.0,
    sink: str = "none",
    seed: int = 1,
    outstanding: int = 4,
    max_burst: int = 256,
) -> BusResult | str:
    """Run streams of a baseline out of a memory through its decoder; compare every beat.

    Parameters
    ----------
    name : str
        One of :data:`xorloom.sim.bench.baselines.streams.BASELINES`.
    streams : sequence of bytes
        Made by :func:`xorloom.sim.bench.baselines.streams.encode_baseline`; they lie back to back.
    weights : sequence of (mask, codes)
        What each stream must yield; at least one weight.
    config : BaselineConfig
    memory, clock_mhz, sink, seed, outstanding, max_burst
        See :func:`xorloom.sim.simulate.bus.simulate_bus`.

    Returns
    -------
    BusResult, or str
        The string tells the first mismatch.

    Raises
    ------
    ConfigError
        If baseline or memory is unknown.
    ToolError
        If the simulator is missing or crashes.
    """
    n_out, planes = config.n_out, config.planes
    layout = BeatLayout(n_out * planes, planes, form="planar")
    whole = ones(n_out * (planes + 1))
    packets = []
    for mask, codes in weights:
        cut = beat_bytes_of(mask, codes, layout)
        # Bits beyond the count are zero, so all bits of all beats count.
        packets.append(Packet(cut.tobytes(), mask.size, whole))
    job = {
        "registers": False,
        "keeps": False,
        "memory": memory,
        "clock_mhz": clock_mhz,
        "sink": sink,
        "seed": seed,
        "beat_bytes": layout.bytes,
        "whole": f"{whole:x}",
        "user": 0,
    }
    text = baseline_top(name, config, outstanding, max_burst)
    head = padded(BASELINE_HEADER_BYTES, config.word_bytes)
    payload_bits = 8 * sum(len(stream) - head for stream in streams)
    image = [b"".join(streams)]
    return run_job(
        text,
        f"baseline_{name}",
        image,
        packets,
        job,
        bus_bits=config.bus_bits,
        payload_bits=payload_bits,
    )
