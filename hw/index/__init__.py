# SPDX-License-Identifier: Apache-2.0
"""Index decoders: masks from index streams."""
