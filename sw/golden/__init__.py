# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL: one pure function per RTL unit, its twin, slow and obvious, plain integers only.

These functions are the truth. RTL and fast kernels are tested against them; they are tested
against independent oracles.
"""
