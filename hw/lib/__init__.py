# SPDX-License-Identifier: Apache-2.0
"""Stream parts that know no codec."""
