# SPDX-License-Identifier: Apache-2.0
"""A cache of a test's own."""

from pathlib import Path

import pytest
from xorloom.sw.base.cache import cache_folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the cache an empty one, but not that of nextpnr, which takes 10 s to compile."""
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(cache_folder() / "yowasp"))
    monkeypatch.setenv("XORLOOM_CACHE", str(tmp_path))
