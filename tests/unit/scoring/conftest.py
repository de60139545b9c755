"""A scorer with a packed form, for galleries that stay packed."""

from __future__ import annotations

import pytest

from harness import registry


@pytest.fixture(scope="module")
def chan():
    return registry.create("chan").eval()
