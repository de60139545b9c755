"""The vocabulary of SCAN's layout: where it is found, and what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from precomp_files import precomp, refused, whole


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return whole(tmp_path)


def test_the_vocabulary_is_found_and_configured(root):
    assert precomp(root).vocabulary_path is None
    words = {"word2idx": {"<pad>": 0}, "idx2word": {"0": "<pad>"}, "idx": 1}
    (root / "f30k_precomp_vocab.json").write_text(json.dumps(words))
    assert precomp(root).vocabulary_path == root / "f30k_precomp_vocab.json"
    (root / "words.json").write_text(json.dumps(words))
    assert precomp(root, vocabulary="words.json").vocabulary_path == root / "words.json"
    assert precomp(root, vocabulary="none").vocabulary_path is None


@pytest.mark.parametrize("place", ["vocab/any_vocab.json", "../vocab/f30k_precomp_vocab.json", "my_vocabulary.json"])
def test_the_vocabulary_is_found_where_users_of_scan_keep_it(root, place):
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).write_text('{"word2idx": {"<pad>": 0}}')
    path = precomp(root).vocabulary_path
    assert path is not None
    assert path.samefile(root / place)


def test_a_vocabulary_elsewhere_is_named(root, tmp_path):
    (tmp_path / "words.json").write_text('{"word2idx": {"<pad>": 0}}')
    for given in ("../words.json", str(tmp_path / "words.json")):
        path = precomp(root, vocabulary=given).vocabulary_path
        assert path is not None
        assert path.samefile(tmp_path / "words.json")
    (tmp_path / "vocab").mkdir()
    (tmp_path / "vocab" / "coco_precomp_vocab.json").write_text('{"word2idx": {"<pad>": 0}}')
    assert precomp(root).vocabulary_path is None  # of another folder


def test_several_vocabularies_are_refused_unless_they_are_copies(root):
    (root / "vocab").mkdir()
    for name in ("a_vocab.json", "vocab/b_vocab.json"):
        (root / name).write_text('{"word2idx": {"<pad>": 0}}')
    assert precomp(root).vocabulary_path == root / "a_vocab.json"
    (root / "a_vocab.json").write_text('{"word2idx": {"<pad>": 0, "a": 1}}')
    refused(root, "several vocabularies fit .*a_vocab.json.*b_vocab.json; set dataset.vocabulary")


def test_a_pickled_vocabulary_is_not_read_and_that_is_said(root, caplog):
    (root / "f30k_precomp_vocab.pkl").write_bytes(b"cos\nsystem\n")
    assert precomp(root).vocabulary_path is None
    assert "f30k_precomp_vocab.pkl is a pickle and is not read" in caplog.text


@pytest.mark.parametrize("content", ['{"word2idx": ', "[]", "{}", '{"word2idx": 3}'])
def test_a_malformed_vocabulary(root, content):
    (root / "a_vocab.json").write_text(content)
    refused(root, "a_vocab.json (as JSON: it is not valid|must )")


def test_a_vocabulary_that_is_missing(root):
    refused(root, r"cannot read .*vocab\.json: No such file", vocabulary="../vocab.json")


def test_a_word_that_stands_twice_in_the_vocabulary(root):
    (root / "a_vocab.json").write_text('{"word2idx": {"dog": 4, "dog": 5}}')
    refused(root, "a_vocab.json as JSON: the key 'dog' stands twice")
