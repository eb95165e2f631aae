# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, made from the engine's parameters."""

import functools
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from xorloom.sim.generate.options import ConfigOptions, Option, UnitOptions

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MaxShardSize",
    "MaxWeights",
    "config_options",
    "matching",
    "refuse_beside_model",
    "unit_options",
]

MaxWeights = Annotated[
    int | None,
    typer.Option(
        help="Decode a model of up to so many weights in all: what memory it may take.",
        show_default="256 per byte of the file, at least 4 Mi",
        min=0,
    ),
]

MaxShardSize = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Into a folder: most bytes of tensors in a file, such as 500MB or 2GiB.",
        show_default="5GB",
    ),
]


def refuse_beside_model(context: typer.Context, *names: str) -> None:
    """Refuse parameters that were given beside a compressed model, which decides them.

    Those of the value codec always, and ``names``.

    Raises
    ------
    ConfigError
        If one was given, by a flag or in a file of parameters.
    """
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.spec.value_options import VALUE_PARAMETERS

    for name in ("value", "rate", *VALUE_PARAMETERS, *names):
        source = context.get_parameter_source(name)
        if source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP"):
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag} does not go with a compressed model, which decides it")


def matching(model: Path, patterns: Sequence[str] | None) -> list[str] | None:
    """Return names of a compressed model's tensors for names and globs; without any, ``None``.

    Raises
    ------
    ConfigError
        If one matches nothing.
    """
    from xorloom.sw.model.container import read_container

    return read_container(model).matching(patterns) if patterns else None


def config_options(*without: str) -> "Callable[[Callable[..., None]], Callable[..., None]]":
    """Return a decorator that gives a command the fields of ``ConfigOptions`` as flags.

    See :class:`xorloom.sim.generate.options.ConfigOptions`. Fields named in ``without`` are left
    out. The command takes all as one argument, ``options``::

        @config_options("model")
        def compress(*, options: ConfigOptions) -> None: ...
    """
    return _options_of(ConfigOptions, "options", without)


def unit_options() -> "Callable[[Callable[..., None]], Callable[..., None]]":
    """Return the same for ``UnitOptions``, as one argument, ``unit_options``.

    See :class:`xorloom.sim.generate.options.UnitOptions`.
    """
    return _options_of(UnitOptions, "unit_options", ())


def _flag(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter with a flag of typer in place of its ``Option``."""
    kind, option = get_args(parameter.annotation)
    assert isinstance(option, Option), parameter
    flag = typer.Option(
        help=option.help,
        show_default=option.default or True,
        min=option.min,
        max=option.max,
    )
    return parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=Annotated[kind, flag])


def _options_of(
    kind: "Callable[..., object]", argument: str, without: Sequence[str]
) -> "Callable[[Callable[..., None]], Callable[..., None]]":
    known = inspect.signature(kind).parameters.values()
    fields = [_flag(p) for p in known if p.name not in without]

    def decorate(command: "Callable[..., None]") -> "Callable[..., None]":
        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.name != argument]
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in own]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            options = kind(**{p.name: given.pop(p.name) for p in fields})
            command(**{argument: options}, **given)

        parameters = [*own[:-1], *fields, *own[-1:]]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate
