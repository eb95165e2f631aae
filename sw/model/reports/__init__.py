# SPDX-License-Identifier: Apache-2.0
"""What is told of a compressed model beside its bits: its parts, and the kept magnitude."""
