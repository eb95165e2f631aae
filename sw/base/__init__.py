# SPDX-License-Identifier: Apache-2.0
"""Base: what all others may import. Errors, files written whole or not at all, the result cache."""
