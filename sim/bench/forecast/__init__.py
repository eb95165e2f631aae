# SPDX-License-Identifier: Apache-2.0
"""Forecast: size, time and memory of a compression, before it runs."""
