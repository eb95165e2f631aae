# SPDX-License-Identifier: Apache-2.0
"""What everyone may import: errors, files written whole or not at all, the result cache."""
