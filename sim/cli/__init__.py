# SPDX-License-Identifier: Apache-2.0
"""The xorloom command: entry point, options, printing."""
