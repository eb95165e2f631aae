# SPDX-License-Identifier: Apache-2.0
"""Top levels of demonstration boards."""
