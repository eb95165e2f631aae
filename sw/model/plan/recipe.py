# SPDX-License-Identifier: Apache-2.0
"""Recipe: a TOML file that says which tensors of a model are compressed, and how each.

Layers, of which the later ones win, key by key: what the caller gives (the command line), the
table ``[default]``, and every ``[[tensor]]`` table whose globs match, from first to last.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.toml_text import (
    check_kind,
    check_known,
    parameter_names,
    read_toml,
    toml_key,
)
from xorloom.sw.tensors.checkpoint.model import listed

from .selection import MIN_SIZE, spared
from .settings import Settings, check_settings, merge, rivals

__all__ = ["Recipe", "Rule", "read_recipe"]

_TOP = {
    "preset": str,
    "include": list,
    "exclude": list,
    "min_size": int,
    "default": dict,
    "tensor": list,
}


@dataclass(frozen=True)
class Rule:
    """Table ``[[tensor]]``: settings of all tensors that match.

    Parameters
    ----------
    where : str
        File and table, for errors.
    match : tuple of str
        Names or globs.
    values : mapping
        Settings by key.
    """

    where: str
    match: tuple[str, ...]
    values: Mapping[str, Any]

    def fits(self, name: str) -> bool:
        """Tell whether a tensor matches."""
        return any(name == glob or fnmatchcase(name, glob) for glob in self.match)


@dataclass(frozen=True)
class Recipe:
    """What a model becomes.

    Parameters
    ----------
    path : Path, optional
        ``None``: all comes from the caller.
    preset : str, optional
        One of :data:`xorloom.sw.model.plan.selection.PRESETS`.
    include, exclude : tuple of str
        Names or globs.
    min_size : int
        Fewest elements of a tensor that no name asks for; ``None``: that of
        :data:`xorloom.sw.model.plan.selection.MIN_SIZE`.
    default : mapping
        Settings by key.
    rules : tuple of Rule
    """

    path: Path | None = None
    preset: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: int | None = None
    default: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    def above(
        self,
        values: Mapping[str, Any],
        *,
        preset: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        min_size: int | None = None,
    ) -> "Recipe":
        """Return this recipe above what the command line gives.

        Parameters
        ----------
        values : mapping
            Settings by key; only those that were given.
        preset, include, exclude, min_size
            As in the recipe; excludes add up.

        Raises
        ------
        ConfigError
            If recipe and command line both tell the same, and not alike.
        """
        for name, value in values.items():
            for key in (name, *rivals(name)):
                if key in self.default and (key != name or not _equal(self.default[key], value)):
                    raise ConfigError(
                        f"{self.path}: [default] has {toml_key(key)} {self.default[key]}, the "
                        f"command line --{toml_key(name)} {value}: leave one of them out"
                    )
        for name, own, other in (
            ("preset", self.preset, preset),
            ("include", self.include, tuple(include)),
            ("min_size", self.min_size, min_size),
        ):
            if not {own, other} & {None, ()} and own != other:
                option = {"include": "tensors"}.get(name, toml_key(name))
                raise ConfigError(
                    f"{self.path}: has {toml_key(name)}, the command line has --{option}: leave "
                    "one of them out"
                )
        return replace(
            self,
            preset=self.preset or preset,
            include=self.include or tuple(include),
            exclude=(*self.exclude, *exclude),
            min_size=self.min_size if min_size is None else min_size,
            default=merge(values, self.default),
        )

    def settings(self, names: Sequence[str]) -> dict[str, Settings]:
        """Return the settings of tensors.

        Raises
        ------
        ConfigError
            If a glob of a rule matches none of them.
        """
        for rule in self.rules:
            for glob in rule.match:
                if not any(name == glob or fnmatchcase(name, glob) for name in names):
                    raise ConfigError(
                        f"{rule.where}: {glob!r} matches no tensor that is compressed "
                        f"(there is: {listed(names, 3)})"
                    )
        found = {}
        for name in names:
            values: Mapping[str, Any] = self.default
            for rule in self.rules:
                if rule.fits(name):
                    values = merge(values, rule.values)
            found[name] = Settings.of(values)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as its TOML file has it, for reports."""
        rules = [
            {"match": list(rule.match)} | {toml_key(n): v for n, v in rule.values.items()}
            for rule in self.rules
        ]
        return {
            "file": None if self.path is None else str(self.path),
            "preset": self.preset,
            "include": list(self.include),
            "exclude": list(self.exclude),
            "min-size": MIN_SIZE if self.min_size is None else self.min_size,
            "default": Settings.of(self.default).to_dict(),
            "tensor": rules,
        }


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are the same; a rate may be a number or its text."""
    return bool(one == other) or str(one) == str(other)


def _rule(where: str, table: Mapping[str, Any]) -> Rule:
    """Check a ``[[tensor]]`` table."""
    values = parameter_names(where, table)
    match = values.pop("match", None)
    if match is None:
        raise ConfigError(f"{where}: match is missing: give a name, a glob, or a list of them")
    if not isinstance(match, str):
        check_kind(where, "match", match, list)
    globs = (match,) if isinstance(match, str) else tuple(match)
    if not globs:
        raise ConfigError(f"{where}: match is empty: give a name, a glob, or a list of them")
    check_settings(where, values)
    if not values:
        raise ConfigError(f"{where}: sets nothing: give a key, or delete the table")
    return Rule(where, globs, values)


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, or a key is unknown or has a value of another type.
    """
    found, text = read_toml(path)
    values = parameter_names(str(path), found)
    for name, value in values.items():
        check_known(
            str(path),
            name,
            _TOP,
            f"keys are {', '.join(map(toml_key, _TOP))}; settings go into [default]",
        )
        if name == "tensor":
            if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
                raise ConfigError(f"{path}: tensor must be tables: write [[tensor]]")
        else:
            check_kind(str(path), name, value, _TOP[name])
    if values.get("min_size", 0) < 0:
        raise ConfigError(f"{path}: min-size must not be negative, not {values['min_size']}")
    try:
        spared(values.get("preset"))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    default = parameter_names(f"{path}: [default]", values.get("default", {}))
    check_settings(f"{path}: [default]", default)
    lines = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if re.match(r"\s*\[\[\s*tensor\s*\]\]", line)
    ]
    tables = values.get("tensor", [])
    rules = []
    for k, table in enumerate(tables):
        line = f" (line {lines[k]})" if len(lines) == len(tables) else ""
        rules.append(_rule(f"{path}: [[tensor]] {k + 1}{line}", table))
    return Recipe(
        path,
        values.get("preset"),
        tuple(values.get("include", ())),
        tuple(values.get("exclude", ())),
        values.get("min_size"),
        default,
        tuple(rules),
    )
