# SPDX-License-Identifier: Apache-2.0
"""What a decoder reads: weight streams, the order of their words, memory images."""
