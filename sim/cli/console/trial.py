# SPDX-License-Identifier: Apache-2.0
"""Trial: a compression that runs for the sake of what it takes, beside what was planned."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from xorloom.sim.bench.forecast.forecast import Forecast
    from xorloom.sw.tensors.checkpoint import Checkpoint

__all__ = ["Trial", "given_words", "run_trial", "trial_rows"]

_RUN = """
import sys
from xorloom.sim.bench.forecast.measure import peak_bytes
from xorloom.sim.cli.main import main
facts = sys.argv.pop(1)
try:
    main()
finally:
    with open(facts, "w", encoding="utf-8") as file:
        print(peak_bytes(), file=file)
"""


@dataclass(frozen=True)
class Trial:
    """What a compression took.

    Parameters
    ----------
    cpu : float
        CPU seconds of its process.
    seconds : float
        On the clock.
    memory : int
        Bytes that the process had at most.
    file : int
        Bytes of the compressed model.
    bits_per_weight : float
        Of what is compressed.
    """

    cpu: float
    seconds: float
    memory: int
    file: int
    bits_per_weight: float

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        return asdict(self)


def given_words(context: typer.Context, *without: str) -> list[str]:
    """Return the options of the running command that were given, as one types them."""
    words = []
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name in without or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if isinstance(value, bool):
            words.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [parameter.opts[0], str(one)]
    return words


def run_trial(model: Path, words: Sequence[str], table: "Checkpoint | None") -> Trial:
    """Compress a model with the options ``words``, in a temporary folder.

    Parameters
    ----------
    model : Path
    words : sequence of str
    table : Checkpoint, optional
        Is written and taken in the place of ``model``, if that has no weights.

    Raises
    ------
    ToolError
        If the compression fails.
    OSError
        If there is no place for it.
    """
    from xorloom.sim.bench.forecast.measure import run_timed
    from xorloom.sim.bench.forecast.shapes import write_model

    with TemporaryDirectory(prefix="xorloom-trial-") as name:
        folder = Path(name)
        if table is not None:
            model = write_model(table, folder / "model")
        out, facts = folder / "c.safetensors", folder / "peak"
        command = ("-c", _RUN, str(facts), "compress", str(model), "-o", str(out), *words)
        printed, cpu, seconds = run_timed((*command, "--json"))
        bits = json.loads(printed)["all"]["bits_per_weight"]["total"]
        memory = int(facts.read_text(encoding="utf-8"))
        return Trial(cpu, seconds, memory, out.stat().st_size, bits)


def trial_rows(planned: "Forecast", found: Trial) -> list[tuple[object, ...]]:
    """Return table rows of what was planned, what was found, and their ratio."""
    rows: list[tuple[object, ...]] = []
    for what, unit, one, other in (
        ("CPU time, s", 1.0, planned.cpu, found.cpu),
        ("time, s", 1.0, planned.seconds, found.seconds),
        ("memory, MiB", 2.0**20, planned.memory, found.memory),
        ("file, MB", 1e6, planned.file, found.file),
        ("bits per weight", 1.0, planned.bits_per_weight, found.bits_per_weight),
    ):
        ratio = one / other if other else 0.0
        rows.append((what, f"{one / unit:,.4g}", f"{other / unit:,.4g}", f"{ratio:.3f}"))
    return rows
