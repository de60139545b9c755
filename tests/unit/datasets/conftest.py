"""What the tests of the layouts compare with."""

from __future__ import annotations

import pytest
import shapes

from harness.datasets.base import Dataset


@pytest.fixture(scope="package")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The data of `shapes` in the karpathy layout."""
    return shapes.opened(shapes.karpathy(tmp_path_factory.mktemp("karpathy")))
