# SPDX-License-Identifier: Apache-2.0
"""The format's facts: parameters, bit positions, networks (standard library only)."""
