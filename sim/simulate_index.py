# SPDX-License-Identifier: Apache-2.0
"""Simulates generated index and weight decoders on memory streams: bit-exact, with cycles."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xorloom.hw.verilog import GeneratedVerilog, generate_unit
from xorloom.sw.config import WindowConfig
from xorloom.sw.decoder import bus_words, window_decoder
from xorloom.sw.decoder_entropy import entropy_decoder
from xorloom.sw.decoder_index import bitmap_decoder, trellis_decoder
from xorloom.sw.decoder_lowrank import lowrank_decoder
from xorloom.sw.errors import ConfigError
from xorloom.sw.index_config import IndexConfig
from xorloom.sw.layout import Header
from xorloom.sw.taps import columns

from .runner import build, run
from .simulate import SimulationResult

__all__ = ["golden_index", "simulate_index", "simulate_weights"]

_GOLDEN: dict[str, Callable[[Any, Sequence[int]], list[int]]] = {
    "bitmap": bitmap_decoder,
    "entropy": entropy_decoder,
    "lowrank": lowrank_decoder,
    "trellis": trellis_decoder,
}


def golden_index(config: IndexConfig, data: bytes) -> list[int]:
    """Return the masks of one memory stream, by the codec's golden model."""
    return _GOLDEN[config.codec](config, bus_words(data, config.bus_bits))


@dataclass(frozen=True)
class _Frame:
    """Beats that one memory stream must yield, and which bits of the last one count."""

    beats: list[int]
    kept: int
    bits: int
    user: int | None = None


def _simulate(
    verilog: GeneratedVerilog,
    inputs: Mapping[str, Sequence[bytes]],
    frames: Sequence[_Frame],
    how: Mapping[str, Any],
) -> SimulationResult | str:
    """Run memory streams through Verilog and compare every frame."""
    beat_bytes = verilog.manifest["ports"]["m_axis_tdata"]["bits"] // 8
    built = build(verilog.text, verilog.name, simulator=how["simulator"])
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        job: dict[str, Any] = {
            "inputs": {},
            "frames": [],
            "beat_bytes": beat_bytes,
            "source": how["source"],
            "sink": how["sink"],
            "seed": how["seed"],
        }
        for prefix, streams in inputs.items():
            paths = [folder / f"{prefix}-{number}" for number in range(len(streams))]
            for path, data in zip(paths, streams, strict=True):
                path.write_bytes(data)
            job["inputs"][prefix] = list(map(str, paths))
        for number, frame in enumerate(frames):
            path = folder / f"expected-{number}"
            path.write_bytes(b"".join(beat.to_bytes(beat_bytes, "little") for beat in frame.beats))
            entry = {
                "expected": str(path),
                "kept": frame.kept.to_bytes(beat_bytes, "little").hex(),
                "bits": frame.bits,
            }
            job["frames"].append(entry | ({} if frame.user is None else {"user": frame.user}))
        result = run(built, "xorloom.sim.tb_index", "decodes_indexed_streams", job)
    if "failure" in result:
        return str(result["failure"])
    return SimulationResult(**result)


def _count(data: bytes) -> int:
    return Header.unpack(data, "stream").count


def _ones(bits: int) -> int:
    return (1 << bits) - 1


def _live(count: int, n_out: int) -> int:
    """Bits that count in the last of a stream's beats."""
    return (count - 1) % n_out + 1


def simulate_index(
    streams: Sequence[bytes],
    config: IndexConfig,
    *,
    verilog: GeneratedVerilog | None = None,
    simulator: str = "verilator",
    source: str = "none",
    sink: str = "none",
    seed: int = 1,
) -> SimulationResult | str:
    """Run index memory streams through the generated decoder and compare every mask bit.

    Parameters
    ----------
    streams : sequence of bytes
        Memory streams of at least one weight each, sent back to back.
    config : DecoderConfig
        Of an index codec.
    verilog : GeneratedVerilog, optional
        Generated from ``config`` if not given.
    source, sink : str
        Stall patterns, see :func:`xorloom.sim.agents.stalls`.

    Returns
    -------
    SimulationResult, or str
        The string tells the first mismatch.

    Raises
    ------
    ConfigError
        If the configuration is not an index codec's.
    ToolError
        If the simulator is missing or crashes.
    """
    verilog = verilog or generate_unit("index", config)
    n_out = config.n_out
    frames = [
        _Frame(golden_index(config, data), _ones(_live(_count(data), n_out)), _count(data))
        for data in streams
    ]
    how = {"simulator": simulator, "source": source, "sink": sink, "seed": seed}
    return _simulate(verilog, {"s_axis": streams}, frames, how)


def simulate_weights(
    value_streams: Sequence[bytes],
    index_streams: Sequence[bytes],
    value: WindowConfig,
    index: IndexConfig,
    *,
    planes: int = 1,
    masked: bool = True,
    verilog: GeneratedVerilog | None = None,
    simulator: str = "verilator",
    source: str = "none",
    sink: str = "none",
    seed: int = 1,
) -> SimulationResult | str:
    """Run value and index memory streams through the weight decoder; compare codes and masks.

    Parameters
    ----------
    value_streams, index_streams : sequence of bytes
        Memory streams of at least one weight each; stream ``k`` of one covers the weights of stream
        ``k`` of the other.
    value : WindowConfig
    index : DecoderConfig
    planes, masked
        See :class:`xorloom.hw.weight_decoder.WeightDecoder`.
    verilog, simulator, source, sink, seed
        See :func:`simulate_index`; both inputs stall, not in the same clocks.

    Returns
    -------
    SimulationResult, or str
        The string tells the first mismatch. Bus words and stalls are summed over both inputs.

    Raises
    ------
    ConfigError
        If the configurations do not fit together, or a stream has no partner.
    ToolError
        If the simulator is missing or crashes.
    """
    if len(value_streams) != len(index_streams):
        raise ConfigError(
            f"every value stream needs an index stream: there are {len(value_streams)} and "
            f"{len(index_streams)}"
        )
    verilog = verilog or generate_unit("weights", value, index=index, planes=planes, masked=masked)
    frames = []
    network = columns(value.network.rows, value.window)
    for number, pair in enumerate(zip(value_streams, index_streams, strict=True)):
        slices = window_decoder(value, network, bus_words(pair[0], value.bus_bits))
        masks = golden_index(index, pair[1])
        if len(slices) != len(masks):
            raise ConfigError(
                f"stream {number}: {len(slices)} value slices need as many mask beats, not "
                f"{len(masks)}"
            )
        beats = []
        for bits, mask in zip(slices, masks, strict=True):
            spread = sum(
                _ones(planes) << lane * planes
                for lane in range(value.n_out // planes)
                if mask >> lane & 1
            )
            beats.append((bits & spread if masked else bits) | mask << value.n_out)
        live = _live(_count(pair[0]), value.n_out)
        kept = _ones(live) | _ones(live // planes) << value.n_out
        frames.append(_Frame(beats, kept, _count(pair[0]) + _count(pair[1]), live))
    how = {"simulator": simulator, "source": source, "sink": sink, "seed": seed}
    inputs = {"s_axis_value": value_streams, "s_axis_index": index_streams}
    return _simulate(verilog, inputs, frames, how)
