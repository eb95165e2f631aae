# SPDX-License-Identifier: Apache-2.0
"""Parts of testbenches: drivers, monitors and models of peripherals."""
