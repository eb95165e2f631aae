# SPDX-License-Identifier: Apache-2.0
"""Calibration: moments of the inputs of a model's matrices, collected, kept in files, and used."""
