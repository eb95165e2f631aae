# SPDX-License-Identifier: Apache-2.0
"""Waveforms: VCD, FST and viewer set-up."""
