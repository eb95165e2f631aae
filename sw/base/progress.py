# SPDX-License-Identifier: Apache-2.0
"""Progress of long work: the call-back that hears of every step."""

from collections.abc import Callable

__all__ = ["Progress", "no_progress"]

Progress = Callable[[str, str], None]
"""Called after each step with the stage of the work, such as ``encode``, and what is done, such
as a tensor's name."""


def no_progress(stage: str, what: str) -> None:
    """Ignore a step: the call-back of a caller who does not ask."""
