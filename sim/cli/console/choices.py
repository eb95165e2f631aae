# SPDX-License-Identifier: Apache-2.0
"""Choices that ``compress`` writes: the masks that indexes chose."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xorloom.sw.model.plan.spec import TensorPlan

__all__ = ["check_chosen", "write_choices"]


def check_chosen(path: Path, plans: "Mapping[str, TensorPlan]") -> None:
    """Check that choices can be written: before the work, of which nothing should be lost."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.index.masks import check_file

    check_file(path, plans)
    if not any(plan.chooses for plan in plans.values()):
        raise ConfigError(
            f"{path}: there are no choices to write, as no tensor's index chooses its mask (give "
            "index bits, --index lowrank or --index hashed)"
        )


def write_choices(output: Path, path: Path, plans: "Mapping[str, TensorPlan]") -> str:
    """Write the choices of the compressed model; return what to tell of it."""
    from xorloom.sw.index.masks import save_choices
    from xorloom.sw.model.container import read_container
    from xorloom.sw.model.plan.choices import choices_of
    from xorloom.sw.tensors.checkpoint.model import listed

    found = choices_of(read_container(output, sys.maxsize))
    missing = [name for name, plan in plans.items() if plan.chooses and name not in found]
    without = f"; not of {listed(missing, 3)}, whose masks no choosing index holds"
    if not found:
        return f"{path} is not written: {without.removeprefix('; ')}"
    save_choices(path, found)
    return f"{path}: choices of {listed(list(found), 3)}{without if missing else ''}"
