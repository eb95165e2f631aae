# SPDX-License-Identifier: Apache-2.0
"""Block codec: one seed per slice, after Kwon et al."""
