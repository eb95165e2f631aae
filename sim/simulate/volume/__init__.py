# SPDX-License-Identifier: Apache-2.0
"""Testbench in C++ for whole models."""
