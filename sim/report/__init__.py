# SPDX-License-Identifier: Apache-2.0
"""HTML report: figures and tables of what commands measured."""
