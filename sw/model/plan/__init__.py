# SPDX-License-Identifier: Apache-2.0
"""Plans: which tensors of a model are compressed, and how each, before the walk begins."""
