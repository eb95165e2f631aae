# SPDX-License-Identifier: Apache-2.0
"""Board demonstrations: sources, bitstreams, simulation."""
