# SPDX-License-Identifier: Apache-2.0
"""Simulates generated index and weight decoders on memory streams: bit-exact, with cycles."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xorloom.hw.verilog import GeneratedVerilog, generate_unit
from xorloom.sw.config import WindowConfig
from xorloom.sw.container import INDEX, STREAM, read_container
from xorloom.sw.decoder import bus_words, window_decoder
from xorloom.sw.decoder_entropy import entropy_decoder
from xorloom.sw.decoder_index import bitmap_decoder, trellis_decoder
from xorloom.sw.decoder_lowrank import lowrank_decoder
from xorloom.sw.decompress import tensor_steps
from xorloom.sw.errors import ConfigError
from xorloom.sw.index_config import EntropyConfig, IndexConfig, TrellisConfig
from xorloom.sw.layout import Header
from xorloom.sw.stream import split_streams
from xorloom.sw.taps import columns

from .runner import build, run
from .simulate import SimulationResult

__all__ = ["golden_index", "simulate_index", "simulate_model", "simulate_weights"]

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


def simulate_model(
    path: Path,
    names: Sequence[str],
    unit: str,
    *,
    source: str = "none",
    sink: str = "none",
    simulator: str = "verilator",
) -> dict[str, Any]:
    """Run tensors of a compressed model, back to back, through its weight or index decoder.

    The model of cycles is the most of: bus words of either input, one a cycle; steps of the value
    decoder; beats of the index with its class chunks or symbol steps, one a cycle.

    Parameters
    ----------
    path : Path
    names : sequence of str
        Tensors; none: the largest.
    unit : str
        ``weights`` or ``index``.

    Returns
    -------
    dict
        JSON-able; ``bit_exact`` tells whether every bit equals the golden model's.

    Raises
    ------
    ConfigError
        If a tensor is not there, or the file has no window codec.
    FormatError
        If the file is damaged.
    ToolError
        If the simulator is missing or crashes.
    """
    container = read_container(path)
    value, index = container.config, container.index
    if not isinstance(value, WindowConfig):
        raise ConfigError(f"--unit {unit} needs the window value codec, not {value.codec}")
    if not names:
        names = [max(container.tensors, key=lambda n: math.prod(container.tensors[n].shape))]
    infos = [container.tensor(name) for name in names]
    width = value.bus_bytes
    index_streams = [
        part for name in names for part in split_streams(container.raw(name + INDEX), width, name)
    ]
    value_streams = [
        part for name in names for part in split_streams(container.raw(name + STREAM), width, name)
    ]
    if unit == "index":
        result = simulate_index(index_streams, index, source=source, sink=sink, simulator=simulator)
    else:
        result = simulate_weights(
            value_streams,
            index_streams,
            value,
            index,
            planes=infos[0].planes,
            source=source,
            sink=sink,
            simulator=simulator,
        )
    weights = sum(math.prod(info.shape) for info in infos)
    beats = sum(-(-math.prod(info.shape) // index.n_out) for info in infos)
    row: dict[str, Any] = {
        "case": names[0] if len(names) == 1 else f"{len(names)} tensors of {path.name}",
        "unit": unit,
        "index": index.codec,
        "bus_bits": value.bus_bits,
        "weights": weights,
        "beats": beats,
    }
    if isinstance(result, str):
        return row | {"bit_exact": False, "mismatch": result}
    limits = [sum(map(len, index_streams)) // width, _index_steps(index, beats)]
    if unit == "weights":
        limits += [
            sum(map(len, value_streams)) // width,
            sum(tensor_steps(container, name) for name in names),
        ]
    return (
        row
        | result.to_dict()
        | {
            "bit_exact": True,
            "model_cycles": max(limits),
            "cycles_to_model": result.cycles / max(limits),
            "weights_per_cycle": weights / result.cycles,
        }
    )


def _index_steps(index: IndexConfig, beats: int) -> int:
    """Cycles of an index decoder that always has bits."""
    if isinstance(index, TrellisConfig):
        return beats + -(-beats // index.period) * index.class_chunks
    if isinstance(index, EntropyConfig):
        return beats * index.n_out // (4 * index.lanes)  # two lanes share a state machine
    return beats
