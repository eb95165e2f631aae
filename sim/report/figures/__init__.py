# SPDX-License-Identifier: Apache-2.0
"""Figures of single kinds of results."""
