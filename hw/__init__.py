# SPDX-License-Identifier: Apache-2.0
"""Amaranth RTL of the decoder, Verilog export and synthesis."""
