# SPDX-License-Identifier: Apache-2.0
"""Window codec: a window slides over one continuous seed stream."""
