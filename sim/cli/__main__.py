# SPDX-License-Identifier: Apache-2.0
"""Entry point of ``python -m xorloom.sim.cli``."""

from .main import main

if __name__ == "__main__":  # tools that read every module import this one as well
    main()
