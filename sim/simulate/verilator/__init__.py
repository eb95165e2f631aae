# SPDX-License-Identifier: Apache-2.0
"""Programs that Verilator makes: their cache, and a testbench in C++ for whole models."""
