"""`frozen.json`: what a frozen leaderboard is, what lies in it, and the sha256 of every file. See docs/frozen.md."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from harness.files.bundles import is_inner_path
from harness.files.names import is_safe_name
from harness.files.reading import Damaged, parse_json
from harness.records.ties import Ties
from harness.settings.base import explain
from harness.spec import Spec

FORMAT: Literal["itm-frozen-leaderboard"] = "itm-frozen-leaderboard"
FORMAT_VERSION = 1
#: The manifest, the records of all runs, the table, and the checksums as `sha256sum -c` takes them.
MANIFEST, RUNS, TABLE, SUMS = "frozen.json", "runs.json", "leaderboard.csv", "SHA256SUMS"
#: The files of a gallery, below its folder.
I2T, T2I, TIES = "i2t.csv", "t2i.csv", "ties.csv"
#: Bytes of the manifest, of one file and of all files together, at most.
LARGEST_MANIFEST, LARGEST_FILE, LARGEST_ALL = 2**24, 2**28, 2**30
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, hexadecimal")]
Version = Annotated[str, Field(pattern=r"^\d{1,6}(\.\d{1,6}){0,2}$", description="such as 1.0; it only rises")]


class FrozenFile(Spec):
    """A file beside the manifest."""

    path: str = Field(description="relative, with /")
    sha256: Sha256
    bytes: int = Field(ge=0, le=LARGEST_FILE)

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if not is_inner_path(path):
            raise ValueError("must be a relative path of plain names")
        return path


class FrozenGallery(Spec):
    """One dataset, split and protocol: numbers of one gallery are comparable, those of two are not."""

    dataset: str
    split: str
    protocol: str
    data_sha256: str = Field(description="of the images, captions and their pairs; other data are another gallery")
    images: int = Field(ge=0, description="image queries; 0 where there are printed figures only")
    captions: int = Field(ge=0, description="caption queries")
    folds: int = Field(ge=0, description="parts that the protocol averages over")
    folder: str = Field(description="where the ranks lie; empty where there are none")

    @field_validator("folder")
    @classmethod
    def _stays_inside(cls, folder: str) -> str:
        if folder and not is_inner_path(folder):
            raise ValueError("must be a relative path of plain names")
        return folder

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.dataset} {self.split}, {self.protocol}"

    def file(self, name: str) -> str:
        """The path of one of its files."""
        return f"{self.folder}/{name}"


class FrozenRun(Spec):
    """A run in short; its record is in runs.json."""

    run_id: str
    method: str = Field(description="as the table labels it")
    backbone: str
    seed: int
    origin: Literal["measured", "foreign", "published"]
    ties: Ties = Field(description="the rule for tied scores under which it was ranked")
    protocols: tuple[str, ...]

    @field_validator("run_id")
    @classmethod
    def _is_an_id(cls, run_id: str) -> str:
        if not is_safe_name(run_id):
            raise ValueError("must be a plain name")
        return run_id


class Extended(Spec):
    """A frozen leaderboard whose runs are contained."""

    name: str
    version: Version
    sha256: Sha256 = Field(description="of its frozen.json")


class Manifest(Spec):
    """The manifest of a frozen leaderboard."""

    format: Literal["itm-frozen-leaderboard"] = FORMAT
    format_version: int = FORMAT_VERSION
    name: str = Field(description="a plain name of a file")
    version: Version
    title: str
    license: str = Field("", description="of these results, e.g. CC-BY-4.0; empty = not stated")
    citation: str = Field("", description="how to cite them; empty = not stated")
    harness_version: str = Field(description="of itm-harness that wrote it")
    code: tuple[str, ...] = Field(description="revisions that the runs were made with")
    last_finished: str = Field(description="when the latest run was finished, ISO 8601")
    galleries: tuple[FrozenGallery, ...]
    runs: tuple[FrozenRun, ...]
    extends: tuple[Extended, ...] = Field((), description="frozen leaderboards that its runs come from, too")
    files: tuple[FrozenFile, ...] = Field(description="all others, but SHA256SUMS, which lists them and this one")

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not is_safe_name(name):
            raise ValueError("must be a plain name of a file: letters, digits, '.', '-' and '_'")
        return name

    @model_validator(mode="after")
    def _once_each(self) -> Manifest:
        for what, keys in (("run", [r.run_id for r in self.runs]), ("file", [f.path.lower() for f in self.files])):
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise ValueError(f"the {what} {twice} is listed twice")
        if sum(file.bytes for file in self.files) > LARGEST_ALL:
            raise ValueError(f"the files are larger than {LARGEST_ALL:,} bytes together")
        return self

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"


def version_key(version: str) -> tuple[int, ...]:
    """For comparing versions.

    >>> version_key("1.10") > version_key("1.9"), version_key("1.0") == version_key("1")
    (True, True)
    """
    parts = [int(part) for part in version.split(".")]
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return tuple(parts)


def is_version(text: str) -> bool:
    """Whether a text may be a version.

    >>> is_version("1.0"), is_version("v1"), is_version("1.0.0.0")
    (True, False, False)
    """
    return re.fullmatch(r"\d{1,6}(\.\d{1,6}){0,2}", text) is not None


def parse_manifest(content: bytes) -> Manifest:
    """A manifest from its bytes.

    Raises:
        Damaged: another format, another format version, or a field that is wrong; one line.
    """
    values = parse_json(content)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise Damaged(f"{MANIFEST} is not of the format {FORMAT}")
    found = values.get("format_version")
    if found != FORMAT_VERSION or isinstance(found, bool):
        raise Damaged(f"{MANIFEST} has format version {found!r:.40}, expected {FORMAT_VERSION}; update itm-harness")
    try:
        return Manifest.model_validate(values)
    except (ValidationError, RecursionError) as error:
        problem = explain(Manifest, error) if isinstance(error, ValidationError) else "it is nested too deeply"
        raise Damaged(f"{MANIFEST}: {problem:.240}") from None


def schema() -> dict[str, Any]:
    """The JSON schema of the manifest."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Manifest.model_json_schema(mode="serialization"),
    }
