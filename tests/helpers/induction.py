# SPDX-License-Identifier: Apache-2.0
"""Proofs by temporal induction, and slice pipes that are broken."""

from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from xorloom.hw.flow.tools import yosys
from xorloom.hw.lib.slice_pipe import SlicePipe
from xorloom.sw.base.errors import ToolError

from tests.helpers.proof import Only

__all__ = ["BROKEN", "LosingPipe", "RepeatingPipe", "prove", "refute"]


class LosingPipe(SlicePipe):
    """Broken: takes every slice for taken."""

    always_taken, again = True, False

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = SlicePipe(stages=self._stages, parts=self._parts)
        offered = Signal()
        m.d.sync += offered.eq(inner.valid & self.ready & ~offered)
        for name in ("available_next", "token", "emit"):
            m.d.comb += getattr(inner, name).eq(getattr(self, name))
        for name in (
            "available",
            "step",
            "data_take",
            "data_step",
            "full",
            "data_free",
            "move",
            "data_move",
        ):
            m.d.comb += getattr(self, name).eq(getattr(inner, name))
        m.d.comb += [
            inner.ready.eq(self.ready | self.always_taken),
            self.valid.eq(inner.valid | (offered & self.again)),
            self.slices.eq(inner.slices),
        ]
        return m


class RepeatingPipe(LosingPipe):
    """Broken: offers a slice for a cycle more after it was taken."""

    always_taken, again = False, True


def prove(top: wiring.Component, what: str, folder: Path) -> None:
    """Prove that output ``what`` of a monitor is never 1 from reset on.

    What makes no difference to it is removed before.
    """
    path = folder / "top.il"
    path.write_text(rtlil.convert(Only(top, what), name="top", emit_src=False))
    passes = [f"read_rtlil {path}", "prep -top top -flatten", "memory_map", "async2sync"]
    check = "sat -verify -tempinduct -maxsteps 10 -prove bad 0 top"
    yosys([*passes, check], folder / "proof.log")
    assert "Induction step proven: SUCCESS!" in (folder / "proof.log").read_text()


def refute(top: wiring.Component, what: str, folder: Path) -> None:
    """Check that ``what`` becomes 1 in a run that starts at reset (not: that no proof is found)."""
    with pytest.raises(ToolError, match="proof did fail"):
        prove(top, what, folder)
    assert "model found for base case: FAIL!" in (folder / "proof.log").read_text()


BROKEN: dict[str, Callable[..., SlicePipe]] = {
    "losing": LosingPipe,
    "repeating": RepeatingPipe,
}
