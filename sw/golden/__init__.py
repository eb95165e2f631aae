# SPDX-License-Identifier: Apache-2.0
"""Golden model of every RTL unit, in plain integers."""
