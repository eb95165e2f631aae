# SPDX-License-Identifier: Apache-2.0
"""AXI ports, AXI4-Lite registers and the AXI4 read master."""
