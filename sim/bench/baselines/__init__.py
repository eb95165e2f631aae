# SPDX-License-Identifier: Apache-2.0
"""Baseline formats: their streams and the simulation of their decoders."""
