# SPDX-License-Identifier: Apache-2.0
"""Simulations of generated Verilog: the host's side, which builds, runs and compares."""
