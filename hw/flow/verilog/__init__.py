# SPDX-License-Identifier: Apache-2.0
"""Text of the Verilog: names that it may have, and how it is written."""
