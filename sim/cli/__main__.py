# SPDX-License-Identifier: Apache-2.0
"""Entry point of ``python -m xorloom.sim.cli``."""

from .main import main

main()
