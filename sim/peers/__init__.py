# SPDX-License-Identifier: Apache-2.0
"""Peers: codecs of other packages beside xorloom's, on the same weights; the extra ``peers``."""
