# SPDX-License-Identifier: Apache-2.0
"""Whole models: compress, container, decompress, inspect, verify."""
