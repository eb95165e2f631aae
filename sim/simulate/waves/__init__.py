# SPDX-License-Identifier: Apache-2.0
"""Waveforms: VCD, FST, and views for waveform viewers."""
