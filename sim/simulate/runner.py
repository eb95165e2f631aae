# SPDX-License-Identifier: Apache-2.0
"""Builds exported Verilog once a content, and runs cocotb testbenches on it."""

import json
import logging
import shutil
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xorloom.sim.simulate.verilator.builds import (
    environment,
    kept_program,
    key_of,
    last_line,
    shared_runtime,
    verilator_environment,
)
from xorloom.sim.simulate.waves.names import StateNames, state_names
from xorloom.sw.base.bounded import Held
from xorloom.sw.base.cache import cache_folder
from xorloom.sw.base.errors import ConfigError, ToolError

__all__ = ["CLOCK_NS", "SIMULATORS", "Build", "build", "run"]

SIMULATORS = ("verilator", "icarus")
CLOCK_NS = 10
"""Clock period in all testbenches."""
_VERILATOR = ("-Wno-fatal", "--x-initial", "unique")
_PORTS = ("--no-public-flat-rw", "--public-depth", "1")
"""Take back what cocotb's runner asks for, that all signals are visible."""


@dataclass(frozen=True)
class Build:
    """A simulator binary: where it lies, for which top, with waves or without.

    With waves, ``names`` are the enumerations of the Verilog by full names of signals. While
    ``held`` lives, no process removes the folder from the cache.
    """

    folder: Path
    top: str
    simulator: str
    waves: bool
    names: Mapping[str, StateNames] = field(default_factory=dict)
    held: Held | None = field(default=None, compare=False, repr=False)


def _quiet_runner(simulator: str) -> Any:
    """Return cocotb's runner without its announcements of every command."""
    from cocotb_tools.runner import get_runner

    runner = get_runner(simulator)
    runner.log.setLevel(logging.WARNING)
    return runner


def _check_simulator(simulator: str) -> None:
    if simulator not in SIMULATORS:
        raise ConfigError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    if simulator == "icarus" and shutil.which("iverilog") is None:
        raise ToolError("Icarus Verilog is missing: apt-get install iverilog")


def build(
    text: str,
    top: str,
    *,
    simulator: str = "verilator",
    waves: bool = False,
    inside: bool = False,
) -> Build:
    """Build a simulation of Verilog text, or find it in the cache; a damaged one is built again.

    Parameters
    ----------
    text, top, simulator : str
    waves : bool
        The simulation can write waveforms.
    inside : bool
        The testbench sees signals below the top module's, as with ``waves``. Without, Verilator
        may remove them: faster to build and to run.

    Raises
    ------
    ConfigError
        If the simulator is unknown.
    ToolError
        If the simulator is missing or the build fails; names the log.
    """
    _check_simulator(simulator)
    visible = waves or inside

    def make(source: Path, objects: Path, log: Path) -> None:
        args = [*_VERILATOR, *([] if visible else _PORTS)] if simulator == "verilator" else []
        with ExitStack() as stack:
            if simulator == "verilator":
                stack.enter_context(
                    environment(stack.enter_context(shared_runtime(objects, text, waves)))
                )
            try:
                _quiet_runner(simulator).build(
                    sources=[source],
                    hdl_toplevel=top,
                    build_dir=objects,
                    build_args=args,
                    always=True,
                    waves=waves,
                    timescale=("1ns", "1ps"),
                    log_file=log,
                )
            except Exception as error:
                raise ToolError(
                    f"{simulator} build failed: {last_line(log)} (log: {log})"
                ) from error

    name = f"{top}-{simulator}-{key_of(text, top, simulator, waves, visible)}"
    program = top if simulator == "verilator" else "sim.vvp"
    held = kept_program(name, top, text, program, make)
    return Build(held.folder, top, simulator, waves, state_names(text) if waves else {}, held)


def run(
    built: Build,
    module: str,
    testcase: str,
    job: dict[str, Any],
    *,
    waves_to: Path | None = None,
    waves_cycles: int | None = None,
) -> dict[str, Any]:
    """Run one cocotb test and return what it reported.

    Parameters
    ----------
    built : Build
    module : str
        Python module with the testbench, e.g. ``xorloom.sim.testbenches.decoder``.
    testcase : str
    job : dict
        JSON-able; the test reads it with :func:`xorloom.sim.testbenches.agents.bench.read_job`.
    waves_to : Path, optional
        Where to put the waveform, ``.fst`` or ``.vcd``, and beside it views for waveform viewers;
        needs a build with ``waves``.
    waves_cycles : int, optional
        Put only so many clock cycles in it.

    Returns
    -------
    dict
        What the test wrote with :func:`xorloom.sim.testbenches.agents.bench.report`; has key
        ``failure`` if the test failed.

    Raises
    ------
    ToolError
        If the simulator did not come to an end by itself.
    """
    from xorloom.sim.simulate.waves.fst import check_waves, write_waveform
    from xorloom.sim.simulate.waves.view import write_views

    _check_simulator(built.simulator)
    if waves_to is not None:
        check_waves(waves_to, waves_cycles)
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        log = folder / "run.log"
        values = verilator_environment() if built.simulator == "verilator" else {}
        icarus_waves = built.waves and built.simulator == "icarus"
        values |= {"PYTHONWARNINGS": "ignore::DeprecationWarning", "COCOTB_LOG_LEVEL": "WARNING"}
        try:
            with environment(values):
                _quiet_runner(built.simulator).test(
                    test_module=module,
                    testcase=testcase,
                    hdl_toplevel=built.top,
                    hdl_toplevel_lang="verilog",
                    build_dir=built.folder / "obj",
                    test_dir=folder,
                    results_xml=str(folder / "results.xml"),
                    waves=built.waves,
                    plusargs=["+dumpfile_path=dump.fst"] if icarus_waves else [],
                    extra_env={"XORLOOM_JOB": str(folder)},
                    log_file=log,
                    timescale=("1ns", "1ps"),
                )
        except (Exception, SystemExit) as error:
            # The runner also exits when a test failed; that is a result, not a crash.
            results = folder / "results.xml"
            failed = isinstance(error, SystemExit) and results.exists() and _failure(results)
            if not failed:
                kept = cache_folder() / "last-failed-run.log"
                log.touch()
                shutil.copyfile(log, kept)
                raise ToolError(
                    f"{built.simulator} run failed: {last_line(kept)} (log: {kept})"
                ) from error
        report = folder / "report.json"
        result = json.loads(report.read_text()) if report.exists() else {}
        failure = _failure(folder / "results.xml")
        if failure is not None:
            result["failure"] = result.get("failure", failure)
        if waves_to is not None and built.waves:
            produced = next(folder.glob("dump.*"), None)
            if produced is None:
                raise ToolError(f"{built.simulator} wrote no waveform")
            stop = None if waves_cycles is None else waves_cycles * CLOCK_NS * 1000
            waveform = write_waveform(produced, waves_to, names=built.names, stop=stop)
            write_views(waveform, CLOCK_NS * 1000)
        return result


def _failure(results: Path) -> str | None:
    """Return why the test failed, ``None`` if it passed."""
    cases = list(ET.parse(results).getroot().iter("testcase"))
    if len(cases) != 1:
        return f"expected one test to run, found {len(cases)}"
    for kind in ("failure", "error"):
        node = cases[0].find(kind)
        if node is not None:
            return node.get("error_msg") or node.get("message") or (node.text or kind).strip()
    return None
