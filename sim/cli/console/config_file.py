# SPDX-License-Identifier: Apache-2.0
"""Configuration files: decoder parameters in TOML, read beside flags, and written."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from xorloom.sim.generate.options import ConfigOptions, UnitOptions

if TYPE_CHECKING:
    from xorloom.sim.generate.units import UnitPlan

__all__ = ["ConfigFile", "blame_file", "config_text", "read_config"]


def _keys() -> dict[str, tuple[Any, Any]]:
    """Return the type and the flag of every key; the flag has its range."""
    kinds: dict[str, tuple[Any, Any]] = {
        "unit": (str, None),
        "name": (str, None),
        "clock": (float, None),
    }
    for field in (*fields(ConfigOptions), *fields(UnitOptions)):
        kind, option = get_args(field.type)
        plain = [part for part in get_args(kind) if part is not type(None)]
        kinds[field.name] = (plain[0] if plain else kind, option)
    return kinds


KEYS = _keys()
"""Keys of a file: names of parameters, as flags without dashes and with ``_`` for ``-``.

A command takes the keys that it has flags for, so that one file serves all commands."""


def read_config(path: Path) -> dict[str, Any]:
    """Return the values of a file by names of parameters.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, or has an unknown key.
    """
    from xorloom.sw.base.toml_text import check_known, parameter_names, read_toml

    values = parameter_names(str(path), read_toml(path)[0])
    for name in values:
        check_known(str(path), name, KEYS, "keys are flags without --")
    model = values.get("model")
    if isinstance(model, str):
        values["model"] = str(path.parent / model)
    return values


def _check(path: Path, name: str, value: Any) -> None:
    """Check one value as that of its flag is checked."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.base.toml_text import check_kind, toml_key

    kind, option = KEYS[name]
    check_kind(str(path), name, value, kind)
    low, high = (None, None) if option is None else (option.min, option.max)
    if low is not None and high is not None and not low <= value <= high:
        raise ConfigError(f"{path}: {toml_key(name)} must be between {low} and {high}, not {value}")


def _load(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of the file the defaults of this run's flags."""
    if path is not None:
        values = read_config(path)
        for name, value in values.items():
            _check(path, name, value)
        own = {parameter.name for parameter in context.command.params}
        context.default_map = {name: value for name, value in values.items() if name in own}
        context.meta[__name__] = path
    return path


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        is_eager=True,
        callback=_load,
        metavar="FILE.toml",
        help="Take parameters from a TOML file; keys are flags without --. Flags win.",
    ),
]
"""Type of the option ``--config``, which changes the defaults of the others."""


@contextmanager
def blame_file(context: typer.Context) -> Iterator[None]:
    """Name the file in the error of a refused parameter, if it came from one."""
    from xorloom.sw.base.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        path = context.meta.get(__name__)
        if path is None or not any(
            re.search(rf"\b{name.replace('_', '[ _-]')}\b", str(error))
            for name in context.default_map or ()
            if (source := context.get_parameter_source(name)) and source.name == "DEFAULT_MAP"
        ):
            raise
        raise ConfigError(f"{path}: {error}") from error


def _toml(value: Any) -> str:
    """Return a string, number, list or Boolean as TOML, which has JSON's escapes."""
    return json.dumps(value) if isinstance(value, str | list | bool) else repr(value)


def config_text(
    title: str,
    plan: "UnitPlan",
    options: ConfigOptions,
    unit: UnitOptions,
    *,
    name: str | None,
    clock_mhz: float,
) -> str:
    """Return the text of a file with all parameters of a unit, also those that were not given.

    Those that a compressed model decides are in it, so the file needs neither the model nor a
    place.

    Parameters
    ----------
    title : str
        Name of the top module.
    plan : UnitPlan
        Made of ``options`` and ``unit``.
    name : str or None
        As it was given.
    clock_mhz : float
    """
    from xorloom.sim.generate.index_text import has_parameters, index_text
    from xorloom.sw.base.toml_text import toml_key

    values: dict[str, Any] = {"unit": plan.name, "name": name, "clock": clock_mhz}
    values |= {"value": plan.config.codec} | plan.config.to_dict()
    if plan.config.codec == "block":
        values["stages"] = plan.stages
    if plan.indexes:
        texts = [index_text(index) for index in plan.indexes]
        named = texts if options.model is not None else unit.index or [plan.indexes[0].codec]
        values["index"] = [
            text if has_parameters(word) else word for text, word in zip(texts, named, strict=True)
        ]
        if values["index"] != texts:
            values |= {"index_bits": unit.index_bits, "index_classes": unit.index_classes}
        values |= {"density": unit.density, "planes": plan.planes}
    if plan.levels:
        values["levels"] = True
    if plan.beats:
        values["beats"] = plan.beats
    if plan.pipeline:
        values["pipeline"] = plan.pipeline
    values |= plan.memory
    lines = [
        "# All parameters of what lies beside this file. To make it again:",
        f"#   xorloom generate --config {title}.toml -o FOLDER",
        *(f"{toml_key(n)} = {_toml(v)}" for n, v in values.items() if v is not None),
    ]
    return "\n".join(lines) + "\n"
