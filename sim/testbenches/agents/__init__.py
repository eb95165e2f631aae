# SPDX-License-Identifier: Apache-2.0
"""Drivers, monitors and models of peripherals."""
