"""The environment that a record states: true versions, and a revision only where there is one."""

import json
import os
import platform
import shutil
import socket
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from harness.machine import cpus
from harness.machine.cpus import usable_cpus
from harness.records import environment

git_only = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True, env=clean
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository with one committed code file."""
    root = tmp_path / "repository"
    (root / "harness").mkdir(parents=True)
    (root / "harness" / "code.py").write_text("x = 1\n")
    (root / ".gitignore").write_text(".venv/\n")
    git(tmp_path, "init", "-q", str(root))
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def test_describe_states_this_process():
    told = environment.describe("cpu").model_dump()
    assert told["python"] == platform.python_version()
    assert told["torch"] == torch.__version__
    assert told["device"] == "cpu"
    assert told["threads"] == torch.get_num_threads()
    assert told["cpus"] == usable_cpus()
    assert told["workers"] == 1
    assert told["packages"]["numpy"] == version("numpy")
    assert told["processor"]
    assert (told["gpu"], told["driver"], told["cuda"]) == (None, None, None)


@pytest.mark.parametrize(("policy", "told"), [("passive", "passive"), ("", "default")])
def test_describe_tells_what_waiting_threads_do_and_who_works_beside_it(monkeypatch, policy, told):
    for name in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    monkeypatch.setattr(cpus, "_share", cpus.Share(workers=3))
    described = environment.describe("cpu")
    assert (described.wait_policy, described.workers) == (told, 3)


def test_describe_is_json_and_names_no_host_user_or_folder():
    told = environment.describe("cpu").model_dump(mode="json")
    text = json.dumps(told)
    assert json.loads(text) == told
    assert socket.gethostname() not in told.values()
    for private in (str(Path.home()), str(Path.cwd())):
        assert private not in text


def test_describe_names_the_gpu_and_its_driver(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index}")
    monkeypatch.setattr(environment, "_driver", lambda: "555.42")
    told = environment.describe("cuda:1").model_dump()
    assert (told["device"], told["gpu"], told["driver"]) == ("cuda", "card 1", "555.42")


def test_a_package_that_is_not_installed_is_absent():
    assert environment.package_versions(("numpy", "no-such-distribution-at-all")) == {"numpy": version("numpy")}


@git_only
def test_revision_of_a_clean_checkout(checkout):
    assert environment.code_revision(checkout / "harness").model_dump() == {
        "revision": git(checkout, "rev-parse", "HEAD"),
        "dirty": False,
    }


@git_only
@pytest.mark.parametrize(
    ("path", "dirty"),
    [("harness/code.py", True), ("harness/new.py", True), ("methods/new.py", True), ("README.md", False)],
)
def test_dirty_means_that_code_differs(checkout, path, dirty):
    (checkout / path).parent.mkdir(exist_ok=True)
    (checkout / path).write_text("x = 2\n")
    assert environment.code_revision(checkout / "harness").dirty is dirty


@git_only
def test_an_installation_inside_somebody_elses_repository_has_no_revision(checkout):
    package = checkout / ".venv" / "site-packages" / "harness"
    package.mkdir(parents=True)
    (package / "code.py").write_text("x = 1\n")
    assert environment.code_revision(package).model_dump() == {"revision": "unknown", "dirty": None}


def test_outside_a_repository_or_without_git_the_revision_is_unknown(tmp_path, monkeypatch):
    unknown = {"revision": "unknown", "dirty": None}
    assert environment.code_revision(tmp_path).model_dump() == unknown
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.code_revision().model_dump() == unknown


@git_only
def test_a_git_hook_does_not_lead_elsewhere(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert environment.code_revision(checkout / "harness").revision != "unknown"
