# SPDX-License-Identifier: Apache-2.0
"""Streams and simulation of the baseline formats."""
