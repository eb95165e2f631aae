# SPDX-License-Identifier: Apache-2.0
"""Low-rank index: a chosen mask as a tile-wise Boolean product."""
