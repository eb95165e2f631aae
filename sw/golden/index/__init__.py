# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the index decoders: one pure function for every RTL unit."""
