# SPDX-License-Identifier: Apache-2.0
"""Testbenches, memory-bandwidth models, benchmarks and the command line."""
