# SPDX-License-Identifier: Apache-2.0
"""Value plane: the codecs of kept bits behind one dispatcher."""
