# SPDX-License-Identifier: Apache-2.0
"""cocotb testbenches: they run inside the simulator."""
