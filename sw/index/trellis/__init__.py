# SPDX-License-Identifier: Apache-2.0
"""Trellis index: a chosen mask near the rate-distortion bound."""
