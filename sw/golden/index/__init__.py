# SPDX-License-Identifier: Apache-2.0
"""Golden model of the index decoders: one pure function for every RTL unit."""
