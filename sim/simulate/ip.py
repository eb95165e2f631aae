# SPDX-License-Identifier: Apache-2.0
"""Simulation of the IP blocks on a compressed model: bit-exact, with cycles."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xorloom.sim.bandwidth.presets import memory as memory_named
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.memory.image import memory_image
from xorloom.sw.model.container import read_container
from xorloom.sw.model.reports.inspect import tensor_steps
from xorloom.sw.spec.layout import BEATS

from .bus import BusResult, simulate_bus
from .index import case_names, case_title, index_steps
from .result import check_pattern
from .stream_ip import StreamIpResult, simulate_stream_ip

__all__ = ["simulate_image"]


def simulate_image(
    path: Path,
    names: Sequence[str],
    *,
    unit: str = "ip",
    levels: bool = False,
    beats: str = BEATS[0],
    memory: str | None = None,
    clock_mhz: float = 100.0,
    source: str = "none",
    sink: str = "none",
    simulator: str = "verilator",
    volume: bool = False,
    waves: Path | None = None,
    waves_cycles: int | None = None,
    max_weights: int | None = None,
) -> dict[str, Any]:
    """Let an IP block decode tensors of a compressed model.

    ``ip`` reads them out of memory, one descriptor per tensor; ``stream-ip`` gets each as a packet.
    The modelled cycles are the largest of three numbers: bus words, on an ideal memory; steps of
    the value decoder; beats of the index with its class chunks or symbol steps.

    Parameters
    ----------
    path : Path
    names : sequence of str
        Tensors; none: the largest.
    unit : str
        ``ip`` or ``stream-ip``.
    levels, beats
        See :class:`xorloom.hw.ip.top.IpBlock`.
    memory : str, optional
        A preset of :mod:`xorloom.sim.bandwidth.presets`, or ``ideal``, which is the default. Words
        come to ``stream-ip`` as evenly as such a memory brings them in the mean.
    clock_mhz : float
        Of bus and decoder.
    source, sink : str
        Stall patterns, see :func:`xorloom.sim.simulate.result.stalls`; ``source`` for
        ``stream-ip`` only.
    simulator : str
        ``verilator`` or ``icarus``.
    volume : bool
        For ``ip``, see :func:`xorloom.sim.simulate.bus.simulate_bus`.
    waves, waves_cycles
        See :func:`xorloom.sim.simulate.runner.run`.
    max_weights : int, optional
        See :func:`xorloom.sw.model.container.reader.read_container`.

    Returns
    -------
    dict
        JSON-able; ``bit_exact`` tells whether every beat is the software decoder's; if not,
        ``mismatch`` tells where.

    Raises
    ------
    ConfigError
        If a tensor is not there or comes twice, the value codec has no weight streams or no
        levels, the memory is unknown, memory and source are both given, or ``volume`` does not go
        with the rest.
    FormatError
        If the file is damaged.
    ToolError
        If the simulator is missing or crashes.
    """
    if not clock_mhz > 0:
        raise ConfigError(f"clock must be positive, not {clock_mhz} MHz")
    check_pattern("source", source)
    check_pattern("sink", sink)
    if memory is not None and source != "none":
        raise ConfigError("give either a memory or a source pattern")
    if volume and unit != "ip":
        raise ConfigError(f"the testbench in C++ is for unit ip, not {unit}")
    container = read_container(path, max_weights)
    container.check_weights()
    names = case_names(container, names)
    align = container.tensor(names[0]).decoder.value.bus_bytes if names else 1
    image = memory_image(container, names, align_bytes=align)
    value, indexes = image.value, [form.index for form in image.forms]
    regions = [region for region in image.regions if region.length]
    if not regions:
        raise ConfigError(f"{path}: no weights in {', '.join(names)}")
    streams = [image.data[region.offset : region.offset + region.length] for region in regions]
    how: dict[str, Any] = {
        "planes": image.planes,
        "levels": levels,
        "beats": beats,
        "sink": sink,
        "simulator": simulator,
        "waves_to": waves,
        "waves_cycles": waves_cycles,
    }
    memory = memory or "ideal"
    result: BusResult | StreamIpResult | str
    if unit == "ip":
        how |= {"memory": memory, "clock_mhz": clock_mhz, "volume": volume}
        result = simulate_bus(streams, value, indexes, **how)
    else:
        if memory != "ideal":
            source = memory_named(memory).stall_pattern(clock_mhz, value.bus_bits)
        result = simulate_stream_ip(streams, value, indexes, source=source, **how)
    weights = sum(region.weights for region in regions)
    row: dict[str, Any] = {
        "case": case_title(container, names),
        "unit": unit,
        "index": " and ".join(index.codec for index in indexes),
        "bus_bits": value.bus_bits,
        "memory": memory,
        "clock_mhz": clock_mhz,
        "weights": weights,
        "beats": sum(region.slices for region in regions),
    }
    if isinstance(result, str):
        return row | {"bit_exact": False, "mismatch": result}
    words = sum(map(len, streams)) // value.bus_bytes
    steps = sum(tensor_steps(container, name) for name in names)
    walk = sum(index_steps(region.form.index, region.slices) for region in regions)
    model = max(words, steps, walk)
    return row | {
        "bit_exact": True,
        "cycles": result.cycles,
        "bus_words": result.words,
        "bus_utilisation": result.bus_utilisation,
        "model_cycles": model,
        "cycles_to_model": result.cycles / model,
        "weights_per_cycle": weights / result.cycles,
        "stall_cycles": result.stall_cycles,
    }
