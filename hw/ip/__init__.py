# SPDX-License-Identifier: Apache-2.0
"""IP block: weight decoder, registers and top level."""
