# SPDX-License-Identifier: Apache-2.0
"""Window decoder."""
