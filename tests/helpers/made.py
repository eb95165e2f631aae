# SPDX-License-Identifier: Apache-2.0
"""Units as Verilog, each generated once in a process for all tests of what it is like."""

from functools import cache

from xorloom.hw.units import generate_unit

__all__ = ["made_unit"]

made_unit = cache(generate_unit)
"""As :func:`xorloom.hw.units.generate_unit`, whose text is the same every time; not for tests of
that. What it returns is shared: nobody may change it."""
