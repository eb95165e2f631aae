# SPDX-License-Identifier: Apache-2.0
"""Results that the report reads: files, and what must be in them."""
