# SPDX-License-Identifier: Apache-2.0
"""Index plane: the codecs of masks behind one dispatcher, their choice and bounds."""
