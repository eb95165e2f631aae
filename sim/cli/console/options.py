# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and how they print."""

import functools
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xorloom.sim.generate.options import ConfigOptions, UnitOptions

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["config_options", "unit_options"]


def config_options(*without: str) -> "Callable[[Callable[..., None]], Callable[..., None]]":
    """Give a command the fields of ``ConfigOptions`` as options, but those named.

    See :class:`xorloom.sim.generate.options.ConfigOptions`. The command takes them as one argument,
    ``options``.
    """
    return _options_of(ConfigOptions, "options", without)


def unit_options() -> "Callable[[Callable[..., None]], Callable[..., None]]":
    """Give a command the fields of ``UnitOptions`` as options.

    See :class:`xorloom.sim.generate.options.UnitOptions`. The command takes them as one argument,
    ``unit_options``.
    """
    return _options_of(UnitOptions, "unit_options", ())


def _options_of(
    kind: "Callable[..., object]", argument: str, without: Sequence[str]
) -> "Callable[[Callable[..., None]], Callable[..., None]]":
    known = inspect.signature(kind).parameters.values()
    fields = [p.replace(kind=p.KEYWORD_ONLY) for p in known if p.name not in without]

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
