# SPDX-License-Identifier: Apache-2.0
"""Measurement of one sample: what its compression takes, in a process of its own."""

import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from xorloom.sw.base.errors import ToolError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.source import open_plain
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.model.prepare import cut_model

__all__ = ["Cost", "measured", "peak_bytes", "run_timed"]

_ENOUGH = 0.5
"""CPU seconds from which on more than two runs tell little."""
_RUNS = (2, 4)
"""Fewest and most runs; the first one does not count, as it has no memory to use again."""


@dataclass(frozen=True)
class Cost:
    """What a sample takes; all of it together, with one thread.

    Parameters
    ----------
    cpu, whole, decode : float
        CPU seconds: of the compression, of the part of it that reads tensors that are cut as a
        whole, and of the decompression.
    peak : int
        Bytes that the process had at most.
    bits : int
        Of all value and index streams.
    beside : int
        Bytes of the file that are no streams and no scales.
    first : float
        As ``cpu``, of the first run, which may load or compile kernels.
    """

    cpu: float
    whole: float
    decode: float
    peak: int
    bits: int
    beside: int
    first: float


def peak_bytes() -> int:
    """Return the most memory that this process had, of late if ``_forget_peak`` could."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s*(\d+) kB", text)
    return 1024 * int(found[1]) if found else 0


def _forget_peak() -> None:
    with suppress(OSError):  # a system may forbid it: then the largest of all samples counts
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def measured(
    path: Path,
    names: Sequence[str],
    *,
    plan: TensorPlan,
    own: bool = False,
    block_weights: int = 0,
    whole_blocks: int = 0,
) -> Cost:
    """Compress a sample, and decompress it.

    Parameters
    ----------
    path : Path
        The sample, a safetensors file; what is made of it lies beside it, for a while.
    names : sequence of str
        Tensors that are compressed.
    plan : TensorPlan
        Of all of them.
    own : bool
        Whether their zeros are masks of their own.
    block_weights : int
    whole_blocks : int
        The same, where what is read of tensors as a whole is measured.
    """
    found = open_plain(path)
    model = replace(found, tensors={n: replace(t, pruned=own) for n, t in found.items()})
    plans, given = dict.fromkeys(names, plan), UserArrays()
    costs: list[float] = []
    fewest, most = _RUNS
    peak = 0
    with TemporaryDirectory(dir=path.parent) as folder:
        out, plain = Path(folder) / "c.safetensors", Path(folder) / "p.safetensors"
        _forget_peak()
        while len(costs) < fewest or (len(costs) < most and sum(costs) < _ENOUGH):
            began = time.process_time()
            made = compress_model(model, out, plans, jobs=1, block_weights=block_weights)
            costs.append(time.process_time() - began)
            peak = peak or peak_bytes()  # of the first: later ones have what it left behind
        began = time.process_time()
        cut_model(model, plans, given, whole_blocks)
        whole = time.process_time() - began
        began = time.process_time()
        decompress_model(out, plain)
        decode = time.process_time() - began
        total = sum(bits.total for bits in made.bits.values())
        scales = sum(bits.scales for bits in made.bits.values())
        passed = sum(t.size * t.load().itemsize for n, t in model.items() if n not in plans)
        beside = out.stat().st_size - total // 8 - passed
    cpu = median(costs[1:] or costs)
    return Cost(cpu, whole, decode, peak, total - scales, beside, costs[0])


def run_timed(words: Sequence[str]) -> tuple[str, float, float]:
    """Run Python with arguments.

    Returns
    -------
    (output, cpu, seconds)
        What it wrote to stdout; CPU seconds of the process from start to end; seconds on the clock.

    Raises
    ------
    ToolError
        If it fails; with what it wrote to stderr.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise ToolError(f"{' '.join(words)} failed: {done.stderr.strip()}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, cpu, seconds
