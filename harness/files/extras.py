"""The optional extras: which of them brings a package that is missing, and the one line that says so.

The light install scores, tests and reports. What trains, tunes or mirrors comes in extras; `pyproject.toml` declares them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import MissingPackage

#: Name under which Python imports a package -> the extra that brings it.
EXTRA_OF = {
    "torch": "train",
    "torchvision": "train",
    "timm": "train",
    "transformers": "train",
    "tokenizers": "train",
    "huggingface_hub": "train",
    "threadpoolctl": "train",
    "open_clip": "clip",
    "optuna": "sweep",
    "cmaes": "sweep",
    "sklearn": "sweep",
    "sqlalchemy": "sweep",
    "mlflow": "mlflow",
    "pyarrow": "parquet",
    "faiss": "ann",
    "pynvml": "nvml",
    "numpyro": "bayes",
    "jax": "bayes",
    "eccv_caption": "eccv",
    "ray": "ray",
    "submitit": "slurm",
    "psycopg": "postgresql",
}
#: Packages that their index names otherwise.
_TITLES = {
    "faiss": "faiss-cpu",
    "open_clip": "open_clip_torch",
    "pynvml": "nvidia-ml-py",
    "ray": "Ray",
    "sklearn": "scikit-learn",
    "numpyro": "NumPyro",
}


def install_extra(extra: str) -> str:
    """The command that installs an extra, in a clone of the repository.

    >>> install_extra("train")
    "pip install -e '.[train]'"
    """
    return f"pip install -e '.[{extra}]'"


def missing(module: str, purpose: str, reason: str = "is not installed") -> MissingPackage:
    """The error of a package that is not there.

    Args:
        module: what was imported; a key of `EXTRA_OF`.
        purpose: what needs it, in words.
        reason: what is wrong with it.

    >>> print(missing("faiss", "an approximate shortlist"))
    an approximate shortlist needs faiss-cpu, which is not installed; in the clone, run: pip install -e '.[ann]'
    """
    title = _TITLES.get(module, module)
    return MissingPackage(
        f"{purpose} needs {title}, which {reason}; in the clone, run: {install_extra(EXTRA_OF[module])}"
    )


def explained(error: ModuleNotFoundError, purpose: str) -> MissingPackage | None:
    """A failed import as the error of its package; None where no extra brings it.

    Args:
        error: of the import.
        purpose: what needs the package, in words.

    >>> explained(ModuleNotFoundError(name="harness.nowhere"), "itm bench") is None
    True
    """
    module = (error.name or "").partition(".")[0]
    # A package that lacks a part of its own is damaged, which the traceback tells better.
    return missing(module, purpose) if module in EXTRA_OF and not is_installed(module) else None


def is_installed(module: str) -> bool:
    """Whether a package can be imported; it is not imported.

    >>> is_installed("numpy"), is_installed("no_such_package")
    (True, False)
    """
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # refused, or loaded without a specification
        return False


@contextmanager
def needed_for(purpose: str) -> Iterator[None]:
    """Imports in this block, whose missing packages are reported with what needs them.

    Args:
        purpose: a noun phrase: `embeddings`.

    Raises:
        MissingPackage: an import failed, and an extra brings its package.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        found = explained(error, purpose)
        if found is None:
            raise
        raise found from None
