# SPDX-License-Identifier: Apache-2.0
"""Where the project's files are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
