# SPDX-License-Identifier: Apache-2.0
"""What a cluster costs: the same tensors by one thread and by workers of this machine.

``python -m xorloom.sim.bench.forecast.cluster`` compresses Gaussian matrices of 4 Mi weights by one
thread, one worker and two, in turns, and tells clock and CPU time of each, medians over rounds.
Starting a cluster is told by itself. ``--index`` and ``--matrices`` change what is compressed.
"""

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
from xorloom.sw.base.extras import require
from xorloom.sw.base.workers import Threads, Workers
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.remote.clusters import workers_at
from xorloom.sw.spec.index_config import EntropyConfig, IndexConfig, TrellisConfig
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.safetensors_file import header_bytes, write_tensors

from ... import datasets

__all__ = ["INDEXES", "main", "measured"]

SHAPE = (2048, 2048)
INDEXES: dict[str, IndexConfig] = {
    "entropy": EntropyConfig(),
    "trellis": TrellisConfig(n_in=80, n_out=512, window=10, minterms=3),
}
"""What the masks are stored by: the fastest codec, and a slow one."""


def measured(
    model: Path, index: IndexConfig, workers: Workers, names: tuple[str, ...]
) -> tuple[float, float]:
    """Return seconds by the clock, and of CPU by this process and those that it started."""
    import psutil

    def cpu() -> float:
        own = psutil.Process()
        return float(sum(sum(p.cpu_times()[:2]) for p in (own, *own.children(recursive=True))))

    plans = dict.fromkeys(names, TensorPlan(sparsity=0.9, index=index))
    began, used = time.monotonic(), cpu()
    compress_model(open_model(model), model.with_name("out"), plans, workers=workers)
    return time.monotonic() - began, cpu() - used


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", choices=INDEXES, default="entropy")
    parser.add_argument("--matrices", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    require("distributed")
    places = ("1 thread", "local:1", "local:2")
    found: dict[str, list[tuple[float, float]]] = {place: [] for place in places}
    starts = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.safetensors")
        names = tuple(f"w{k}" for k in range(chosen.matrices))
        rng = np.random.default_rng(datasets.SEED)
        size = 4 * SHAPE[0] * SHAPE[1]
        header = header_bytes(dict.fromkeys(names, ("F32", SHAPE, size)), {})
        write_tensors(model, header, (rng.standard_normal(SHAPE, "f4").tobytes() for _ in names))
        for _ in range(chosen.rounds):
            for place in places:
                with ExitStack() as stack:
                    began = time.monotonic()
                    workers: Workers = Threads(1)
                    if place.startswith("local"):
                        workers = stack.enter_context(workers_at(place))
                        starts.append(time.monotonic() - began)
                    measured(model, INDEXES[chosen.index], workers, names[:2])  # kernels
                    found[place].append(measured(model, INDEXES[chosen.index], workers, names))
    print(f"{chosen.index} index, {chosen.matrices} matrices of {SHAPE[0]} by {SHAPE[1]}")
    for place, times in found.items():
        clock, cpu = (median(column) for column in zip(*times, strict=True))
        print(f"{place}: {clock:.2f} s, {cpu:.2f} s CPU")
    print(f"start of a cluster: {median(starts):.1f} s; load now {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
