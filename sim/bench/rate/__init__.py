# SPDX-License-Identifier: Apache-2.0
"""Rate benchmark: squared error of every codec against stored bits, beside the least possible."""
