# SPDX-License-Identifier: Apache-2.0
"""Studies behind the defaults: tap networks of the window codec, and how its cost grows."""

import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from xorloom.sim.datasets import SEED, iid
from xorloom.sim.plots import save_plot
from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.taps import WindowNetwork, gf2_rank, splitmix64
from xorloom.sw.tensors.prune import check_sparsity
from xorloom.sw.value.search import search_window
from xorloom.sw.value.window import codec as window_codec
from xorloom.sw.value.window import decoding as window_decoding
from xorloom.sw.value.window import stream as window_stream

__all__ = ["plot_scale", "profile_rows", "scale_rows", "tap_rows"]

_REPEATS = 5


@dataclass(frozen=True)
class PlacedConfig(WindowConfig):
    """Window decoder whose own taps are placed by another rule, to compare with.

    ``placement``: ``random`` draws every tap alone; ``newest`` and ``oldest`` deal the own taps
    from one half of the window only.
    """

    placement: str = "random"

    @property
    def network(self) -> WindowNetwork:
        """The network; its rank is what the placement gives."""
        generator = splitmix64(self.network_seed)

        def draw(cards: int, size: int) -> tuple[int, ...]:
            hand: dict[int, None] = {}
            while len(hand) < size:
                hand[next(generator) % cards] = None
            return tuple(hand)

        half = self.window // 2
        base = super().network
        if self.placement == "random":
            return WindowNetwork(
                tuple(draw(self.window, self.parity_taps) for _ in range(self.shared)),
                tuple(draw(self.window, self.own_taps) for _ in range(self.n_out)),
                tuple(draw(self.shared, self.shared_taps) for _ in range(self.n_out)),
            )
        low = half if self.placement == "newest" else 0
        own = tuple(tuple(low + tap % half for tap in taps) for taps in base.own)
        return WindowNetwork(base.parities, own, base.picks)


def _direct(taps: int, **other: int) -> WindowConfig:
    return WindowConfig(own_taps=taps, shared_taps=0, shared=0, **other)


def _candidates() -> list[tuple[str, WindowConfig]]:
    """The networks of the study: one idea varied at a time."""
    rows = [(f"{k} taps", _direct(k, n_out=448)) for k in (4, 5, 6, 7, 10, 11)]
    for part in (8, 4, 2, 1):
        share = f"1 + 3 of n_out/{part} parities of 4"
        rows.append((share, WindowConfig(shared=512 // part)))
    rows += [
        ("3 + 1 of n_out/4 parities of 4", WindowConfig(own_taps=3, shared_taps=1, shared=128)),
        ("3 + 1 of n_out/2 parities of 4", WindowConfig(own_taps=3, shared_taps=1)),
        ("1 + 5 of n_out/4 parities of 6", WindowConfig(shared_taps=5, shared=128, parity_taps=6)),
        ("1 + 5 of n_out/2 parities of 6", WindowConfig(shared_taps=5, parity_taps=6)),
    ]
    rows += [(f"window {w}", WindowConfig(window=w)) for w in (128, 256, 512, 1024)]
    rows += [(f"own taps {p}", PlacedConfig(placement=p)) for p in ("random", "newest", "oldest")]
    return rows


def tap_rows(
    sparsities: Sequence[float],
    weights: int,
    *,
    area: bool = True,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Compare tap networks: efficiency on i.i.d. masks, attempts per frame, LUTs of the network.

    ``lut4`` and ``lut6`` are Yosys cells per output of the network unit, for ECP5 and 7 series.
    ``attempts`` is how often a frame is encoded until it is kept, at the first sparsity. Networks
    that cannot hold a mask have no efficiency.
    """
    masks = [iid(weights, check_sparsity(s), 1, SEED) for s in sparsities]
    rows = []
    for name, config in _candidates():
        row: dict[str, Any] = {"network": name, "window": config.window, "taps": config.taps}
        row["rank"] = gf2_rank(config.network.rows)
        for s, (mask, codes) in zip(sparsities, masks, strict=True):
            try:
                encoded = window_codec.encode(mask, codes, 1, config, order="row")
            except CapacityError:
                row[f"S {s}"] = None
                continue
            bits = sum(stream.chunks for stream in encoded.streams) * config.n_in
            row[f"S {s}"] = int(np.count_nonzero(mask)) / bits
            frames = sum(len(stream.facts) for stream in encoded.streams)
            row.setdefault("attempts", sum(x.attempts for x in encoded.streams) / frames)
        if area:
            for key, target in (("lut4", "ecp5"), ("lut6", "xilinx7")):
                row[key] = _network_luts(config, target) / config.n_out
        rows.append(row)
        progress("network", name)
    return rows


def _network_luts(config: WindowConfig, target: str) -> int:
    from xorloom.hw.flow.synth import synthesize
    from xorloom.hw.units import generate_unit

    verilog = generate_unit("network", config)
    return synthesize(verilog.text, verilog.name, target, seeds=0).lut or 0


def _resident_bytes() -> int:
    """Memory of this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _measure(weights: int, sparsity: float, config: WindowConfig) -> dict[str, Any]:
    """Encode and decode one size; run it in a process of its own, whose memory is measured."""
    part = 1 << 20
    warm = iid(1 << 16, sparsity, 1, 1)
    window_codec.decode(window_codec.encode(*warm, 1, config, order="row"), warm[0], 1, config)
    mask, codes = np.empty(weights, np.bool_), np.empty(weights, np.uint8)
    for k in range(0, weights, part):
        n = min(part, weights - k)
        mask[k : k + n], codes[k : k + n] = iid(n, sparsity, 1, SEED + k)
    before = peak = _resident_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, _resident_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        encoded = window_codec.encode(mask, codes, 1, config, order="row", threads=1)
        middle = time.perf_counter()
        done.set()
        decoded = window_codec.decode(encoded, mask, 1, config)
        times.append((middle - start, time.perf_counter() - middle))
    watcher.join()
    encode_s, decode_s = (statistics.median(column) for column in zip(*times, strict=True))
    codes[~mask] = 0
    return {
        "weights": weights,
        "sparsity": sparsity,
        "streams": len(encoded.streams),
        "encode_ns_per_weight": encode_s * 1e9 / weights,
        "decode_ns_per_weight": decode_s * 1e9 / weights,
        "encode_mbytes": (peak - before) / 1e6,
        "lossless": bool((decoded == codes).all()),
    }


def scale_rows(
    sizes: Sequence[int],
    sparsity: float,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Encoder cost on one core: time per weight and memory, over the number of weights.

    ``encode_mbytes`` is how much the process grew while it encoded: inputs are not counted, the
    result is.
    """
    rows = []
    mask, codes = iid(1 << 20, sparsity, 1, SEED)
    config = search_window([(mask, codes, 1)], WindowConfig())
    for size in sizes:
        if size < 1:
            raise ConfigError(f"weights must be at least 1, not {size}")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows.append(pool.submit(_measure, size, sparsity, config).result())
        progress("scale", f"{size:,} weights")
    return rows


def plot_scale(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw :func:`scale_rows` as a picture (PNG or SVG by the file's ending)."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    size = [row["weights"] / 1e6 for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for key, label in (("encode", "encode"), ("decode", "decode")):
        left.plot(size, [row[f"{key}_ns_per_weight"] for row in rows], "o-", label=label)
    left.set_ylabel("ns per weight")
    left.legend(frameon=False)
    right.plot(size, [row["encode_mbytes"] for row in rows], "o-", label="encoder, result included")
    right.plot(size, [row["weights"] * 2 / 1e6 for row in rows], "--", color="gray", label="inputs")
    right.set_ylabel("memory, MB")
    right.set_yscale("log")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("million weights")
        axes.grid(alpha=0.3)
    left.set_ylim(bottom=0)
    figure.suptitle(f"Window codec on one core, i.i.d. mask, S = {rows[0]['sparsity']}")
    save_plot(figure, path)
    plt.close(figure)


_STAGES = (
    ("encode", "pack mask and codes", window_codec, "pack_planes"),
    ("encode", "cut slices out of the tensor", window_codec, "cut_slices"),
    ("encode", "elimination and rate control", window_codec, "encode_stream"),
    ("encode", "back-substitution", window_codec, "solve"),
    ("encode", "bytes, CRC", window_stream, "pack_window"),
    ("decode", "CRC, checks", window_stream, "unpack_window"),
    ("decode", "rate words to slices", window_decoding, "walk"),
    ("decode", "network and weight order", window_decoding, "decode_slices"),
    ("decode", "pack the mask", window_codec, "pack_bool"),
    ("decode", "bits to codes", window_codec, "unpack_planes"),
)
"""What is timed: direction, stage, and the function as its caller sees it."""


def profile_rows(
    sparsities: Sequence[float], weights: int, repeats: int, progress: Progress = no_progress
) -> list[dict[str, Any]]:
    """CPU time of each stage of the window codec: ns per weight, median of the runs.

    ``rest`` is what no stage holds: allocation, counting, the loop in Python. ``CRC, checks``
    walks the rate words as well, so their time is in it a second time.
    """
    rows = []
    for sparsity in sparsities:
        mask, codes = iid(weights, sparsity, 1, SEED)
        config = search_window([(mask, codes, 1)], WindowConfig())
        runs = [_profile(mask, codes, config) for _ in range(repeats + 1)][1:]  # first: compiles
        for direction, stage in runs[0]:
            seconds = statistics.median(run[direction, stage] for run in runs)
            row = {"sparsity": sparsity, "direction": direction, "stage": stage}
            rows.append(row | {"ns_per_weight": seconds * 1e9 / weights})
        progress("profile", f"S {sparsity}")
    return rows


def _profile(
    mask: np.ndarray, codes: np.ndarray, config: WindowConfig
) -> dict[tuple[str, str], float]:
    """Return the seconds of every stage, and of the rest of each direction."""
    spent = {(direction, stage): 0.0 for direction, stage, _, _ in _STAGES}

    def timed(key: tuple[str, str], function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.thread_time()
            result = function(*arguments, **named)
            spent[key] += time.thread_time() - start
            return result

        return call

    with ExitStack() as stack:
        for direction, stage, module, name in _STAGES:
            wrapped = timed((direction, stage), getattr(module, name))
            stack.enter_context(mock.patch.object(module, name, wrapped))
        start = time.process_time()
        encoded = window_codec.encode(mask, codes, 1, config, order="row", threads=1)
        data, _ = window_stream.pack_window(encoded, config)
        middle = time.process_time()
        again = window_stream.unpack_window(
            data,
            config,
            order="row",
            weights=mask.size,
            planes=1,
            slices_per_stream=encoded.slices_per_stream,
        )
        window_codec.decode(again, mask, 1, config)
        end = time.process_time()
    for direction, total in (("encode", middle - start), ("decode", end - middle)):
        known = sum(seconds for key, seconds in spent.items() if key[0] == direction)
        spent[direction, "rest"] = total - known
    return spent
