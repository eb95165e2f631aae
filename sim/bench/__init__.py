# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: bits, area, bus cycles and encoder speed."""
