# SPDX-License-Identifier: Apache-2.0
"""What generate writes: unit plans, vectors, templates."""
