# SPDX-License-Identifier: Apache-2.0
"""Options that say what a model becomes: those of ``compress``, for other commands as well."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from xorloom.sw.model.plan.recipe import Recipe

__all__ = ["options_of", "recipe_of"]


def options_of(
    command: Callable[..., None], *without: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command the options of another one that it has not itself.

    Those named in ``without`` are left out. The command finds their values in the context.
    """

    def decorate(own: Callable[..., None]) -> Callable[..., None]:
        known = inspect.signature(own).parameters
        taken = {*known, *without}
        theirs = inspect.signature(command).parameters
        more = [parameter for name, parameter in theirs.items() if name not in taken]

        @functools.wraps(own)
        def run(**given: Any) -> None:
            own(**{name: given[name] for name in known})

        mine = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in known.values()]
        parameters = [*mine[:2], *more, *mine[2:]]
        signature = inspect.signature(own).replace(parameters=parameters)
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def recipe_of(context: typer.Context) -> "Recipe":
    """Return all that the options of ``compress`` ask for: the recipe above the command line.

    Raises
    ------
    ConfigError
        If the recipe is damaged, or it and the command line contradict each other.
    """
    from xorloom.sw.model.plan.recipe import Recipe, read_recipe
    from xorloom.sw.model.plan.settings import KEYS

    def is_given(name: str) -> bool:
        source = context.get_parameter_source(name)
        return source is not None and source.name == "COMMANDLINE"

    given = context.params
    recipe = Recipe() if given["recipe"] is None else read_recipe(given["recipe"])
    return recipe.above(
        {name: given[name] for name in KEYS if is_given(name)},
        preset=given["preset"],
        include=given["tensors"] or (),
        exclude=given["exclude"] or (),
        min_size=given["min_size"],
    )
