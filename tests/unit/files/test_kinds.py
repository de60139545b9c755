"""What a file is, by its bytes, whatever its name says."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidDataset
from harness.files.kinds import identify, mismatch

CONTENTS = {
    "npy": lambda p: np.save(p.open("wb"), np.zeros(2)),
    "npz": lambda p: np.savez(p.open("wb"), a=np.zeros(2)),
    "torch": lambda p: torch.save({"a": torch.zeros(1)}, p),
    "safetensors": lambda p: save_file({"a": torch.zeros(1)}, p),
    "csv": b"a,b\n1,2\n",
    "tsv": b"a\tb c\n1\t2 d\nx y\tz\n",
    "json": b'{"a": 1}',
    "yaml": b"# mine\nname: a\nseeds: 3\n",
    "numbers": b"0.1 0.2\n0.3 0.4\n",
    "trec-run": b"q Q0 d 1 0.5 t\n",
    "qrels": b"q 0 d 1\n",
    "html": b"\xef\xbb\xbf\n <!DOCTYPE html>",
    "xml": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "utf16": "a,b\n".encode("utf-16"),
    "tar": b"x".ljust(257, b"\0") + b"ustar" + bytes(300),
    "blank": b" \n\n",
    "binary": bytes(range(128, 256)),
    "text": b"two dogs\nrun\n",
}


@pytest.mark.parametrize("key", CONTENTS)
def test_kinds(tmp_path, key):
    path = tmp_path / "file"
    content = CONTENTS[key]
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    assert identify(path).key == key


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert identify(tmp_path / "pipe").title == "a named pipe"
    assert identify("/dev/zero").title == "a device"
    assert identify(tmp_path).title == "a folder"
    assert identify(tmp_path / "gone").key == "missing"
    assert identify("a\0b").key == "unreadable"


def test_a_text_that_is_cut_inside_a_letter_is_a_text(tmp_path):
    (tmp_path / "t").write_text("a" * 4095 + "é" * 10, encoding="utf-8")
    assert identify(tmp_path / "t").key == "text"


def test_a_mismatch_says_what_came_what_was_expected_and_what_to_do(tmp_path):
    (tmp_path / "t").write_bytes(b"\x1f\x8b\x08" + bytes(9))
    assert mismatch(tmp_path / "t", "a thing", "do this") == (
        f"{tmp_path / 't'} is a gzip-compressed file; expected a thing; unpack it first with `gunzip`"
    )


def test_vocabularies_that_are_something_else_are_named(tmp_path):
    (tmp_path / "t").write_bytes(CONTENTS["html"])
    with pytest.raises(InvalidDataset, match="an HTML page"):
        Vocabulary.load(tmp_path / "t")
