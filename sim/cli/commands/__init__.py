# SPDX-License-Identifier: Apache-2.0
"""Commands of ``xorloom``, one file per subject."""
