"""Where a record was made: versions, hardware and the code's revision.

Nothing here names a person, a host or a folder, so a record can be published as it is.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from harness.machine.cpus import share, usable_cpus
from harness.machine.waiting import wait_policy
from harness.records.parts import Code, Environment

if TYPE_CHECKING:
    import torch

#: The distributions whose versions can move a number.
PACKAGES = (
    "itm-harness", "mlflow", "numba", "numpy", "open_clip_torch", "optuna", "pandas", "pydantic", "scipy", "timm", "torch",
    "torchvision", "transformers", "triton",
)  # fmt: skip
#: The folders of the checkout that decide what a run computes.
CODE = ("harness", "methods", "baselines")
_TIMEOUT_S = 10


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(device: torch.device | str = "cpu") -> Environment:
    """The environment of a run on a device; what cannot be found out is None."""
    import torch

    device = torch.device(device)
    on_gpu = device.type == "cuda" and torch.cuda.is_available()
    return Environment(
        python=platform.python_version(),
        torch=torch.__version__,
        platform=f"{platform.system()}-{platform.machine()}",
        device=device.type,
        processor=_processor(),
        cpus=usable_cpus(),
        threads=torch.get_num_threads(),
        wait_policy=wait_policy(os.environ),
        workers=share().workers,
        cpu_mhz=_clock(),
        gpu=torch.cuda.get_device_name(device) if on_gpu else None,
        driver=_driver() if on_gpu else None,
        cuda=torch.version.cuda if on_gpu else None,
        packages=package_versions(PACKAGES),
    )


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of the installed ones of some distributions."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_revision(package: Path | None = None) -> Code:
    """The git commit of the code that runs, and whether code differs from it, new files included.

    Args:
        package: a folder of the code; by default this package's own.

    Returns:
        Revision "unknown" where the package is not part of a git checkout, as when it was installed from a wheel.
    """
    package = package or Path(__file__).resolve().parent
    unknown = Code(revision="unknown", dirty=None)
    # A virtual environment may lie inside somebody's repository: only a folder with tracked files is our checkout.
    if not _git(package, "ls-files", "."):
        return unknown
    root = _git(package, "rev-parse", "--show-toplevel")
    revision = _git(package, "rev-parse", "HEAD")
    if not root or not revision:
        return unknown
    status = _git(Path(root), "status", "--porcelain", "--", *CODE)
    return unknown if status is None else Code(revision=revision, dirty=bool(status))


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None if it cannot be run or fails."""
    if shutil.which("git") is None:
        return None
    # Inside a git hook GIT_DIR and its like point elsewhere; optional locks would disturb a commit under way.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    return _output("git", "-C", str(folder), *arguments, environment=environment)


def _output(*command: str, environment: dict[str, str] | None = None) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()


def _driver() -> str | None:
    """Version of the NVIDIA driver; None where it cannot be found out."""
    module = Path("/sys/module/nvidia/version")
    if module.is_file():
        return module.read_text(encoding="utf-8").strip()
    answer = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return answer.splitlines()[0].strip() if answer else None


def _processor() -> str:
    """The CPU's model as it names itself."""
    named = _cpuinfo("model name")
    if named:
        return named[0]
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine() or "unknown"


def _clock() -> int | None:
    """Mean clock of the CPUs in MHz at this moment."""
    clocks = [float(value) for value in _cpuinfo("cpu MHz")]
    return round(sum(clocks) / len(clocks)) if clocks else None


def _cpuinfo(key: str) -> list[str]:
    """The values of a key in Linux's /proc/cpuinfo, one a CPU; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key]
