# SPDX-License-Identifier: Apache-2.0
"""Encoder, stream format, container, golden model and metrics."""
