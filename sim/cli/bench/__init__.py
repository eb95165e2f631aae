# SPDX-License-Identifier: Apache-2.0
"""Commands of ``xorloom bench``, one file per subject."""
