"""Where the cache is: `$ITM_CACHE`, else `~/.cache/itm-harness`. Everything in it can be deleted at any time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder, which may not exist yet."""
    return Path(os.environ.get("ITM_CACHE") or "~/.cache/itm-harness").expanduser()
