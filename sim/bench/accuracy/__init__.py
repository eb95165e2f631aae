# SPDX-License-Identifier: Apache-2.0
"""Accuracy laboratory: what bits per weight buy on networks that are trained through the code."""
