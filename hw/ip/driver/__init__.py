# SPDX-License-Identifier: Apache-2.0
"""Software that drives the IP block, in Python and C."""
