"""Shared by all tests: a cache of their own, and an experiment small enough to train in a second."""

from __future__ import annotations

import base64
import gc
import hashlib
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

from harness.machine import turnstile
from harness.similarity import settings
from harness.tracking import store

if not torch.cuda.is_available():
    # Kernels written in Triton then run in its interpreter. Triton asks for it when it is imported, whoever imports it.
    os.environ["TRITON_INTERPRET"] = "1"

# How fast examples are drawn and tried depends on what else the machine does, and is no finding.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

if not torch.cuda.is_available():
    # A process takes longer to load compiled kernels than these tests score for. Tests of the kernels ask for them.
    os.environ["ITM_FUSED"] = "0"
    settings.use(settings.Settings(fused=False))

FLICKR8K = Path(os.environ.get("ITM_FLICKR8K", Path(__file__).parents[2] / "shared" / "flickr8k"))


#: The test file, and how many modules there were, when the garbage collector was last told to leave alone what is there.
_frozen: tuple[Path | None, int] = (None, 0)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What is there when a file begins lives until the end: modules, and what they keep. With those of torch, MLflow and
    the rest, a look at all objects takes 0.7 s, and looking for garbage took a fifth of the time of all tests."""
    global _frozen
    file, modules = _frozen
    if item.path != file or len(sys.modules) > modules + 200:
        _frozen = item.path, len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _cache_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["ITM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ["ITM_WORKERS"] = "1"  # tests of workers ask for them; a process takes longer to start than these runs do
    os.environ["ITM_NO_SITE"] = "1"  # tests of the site ask for it
    # Tests run beside each other, and beside other work of whoever runs them.
    os.environ["ITM_MEASURE_ALONE"] = "0"
    turnstile.use(False)


@pytest.fixture(scope="session", autouse=True)
def migrating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path, Path], None]]:
    """MLflow makes a database by some seventy migrations, 1.5 s of CPU each time: new ones are copies of a first one.

    The function that migrates is given to those who want it to run.
    """
    first, create = tmp_path_factory.mktemp("mlflow") / "first.db", store._create

    def copied(path: Path, artifacts: Path) -> None:
        if not first.exists():
            create(first, artifacts)
        shutil.copyfile(first, path)
        with closing(sqlite3.connect(path)) as connection, connection:
            place = f"{artifacts.as_uri()}/0"
            connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", (place,))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_create", copied)
        yield create


@pytest.fixture(scope="session", autouse=True)
def true_type() -> Iterator[dict[str, int]]:
    """The letters of a PDF are cut out of a TrueType font, 0.2 s for each: here they are drawn as outlines instead.

    The setting that was is given to those who look at the fonts.
    """
    from harness.reports.document import figures

    before = {"pdf.fonttype": figures._STYLE["pdf.fonttype"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(figures._STYLE, "pdf.fonttype", 3)
        yield before


@pytest.fixture
def tiny() -> dict[str, Any]:
    """An experiment of 40 training images and models of width 16."""
    return {
        "name": "tiny",
        "dataset": {"name": "scenes", "train_images": 40, "val_images": 10, "test_images": 12, "image_size": 32},
        "seeds": 1,
        "image": {"name": "regions", "width": 16},
        "text": {"name": "bigru", "width": 16},
        "training": {"epochs": 2, "batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
        "evaluation": {"cost_repeats": 3},
        "scorers": ["scan"],
    }


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs a package of some files, as pip lays it out, and returns the folder that it lies in."""
    site = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(site)

    def installed(name: str, files: Mapping[str, bytes], *, version: str = "1.0", record: bool = True) -> Path:
        rows = []
        for file, content in files.items():
            path = site / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            rows.append(f"{file},sha256={digest},{len(content)}")
        described = site / f"{name.replace('-', '_')}-{version}.dist-info"
        described.mkdir(parents=True)
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if record:
            (described / "RECORD").write_text("\n".join([*rows, f"{described.name}/RECORD,,"]))
        return site

    return installed
