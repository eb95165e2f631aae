# SPDX-License-Identifier: Apache-2.0
"""Sweeps over decoder parameters and their Pareto front."""
