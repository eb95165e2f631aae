# SPDX-License-Identifier: Apache-2.0
"""cocotb tests; they run inside the simulator."""
