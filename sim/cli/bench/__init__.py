# SPDX-License-Identifier: Apache-2.0
"""xorloom bench: one file per benchmark."""
