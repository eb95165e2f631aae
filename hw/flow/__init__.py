# SPDX-License-Identifier: Apache-2.0
"""Tools around the netlist: export, Yosys, nextpnr, Liberty. No RTL."""
