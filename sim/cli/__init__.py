# SPDX-License-Identifier: Apache-2.0
"""Command line ``xorloom``: entry point, commands, options, printing."""
