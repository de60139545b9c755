"""Word vectors: each word of a vocabulary gets its own published vector, or the file is refused."""

from __future__ import annotations

import bz2
import gzip
import pickle
import zipfile

import numpy as np
import pytest
import torch

from harness import backbones
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidCheckpoint, InvalidSpec, ItmError
from harness.runs.planning import plan
from harness.spec import load_experiment

CAPTIONS = ["a red t-shirt", "a dog runs", "the unseenword"]
GLOVE = """a 1 2 3
dog -1 -2 -3.5
tshirt 7 8 9
. . . 4 4 4
red 0.5 0.25 0
red 9 9 9
zebra 1 1 1
"""


def write(path, text=GLOVE):
    path.write_text(text, encoding="utf-8")
    return path


def encoder(path, **options):
    torch.manual_seed(0)
    return backbones.build_text(
        {"name": "bigru", "width": 4, "word_width": 3, "embeddings": str(path)}, captions=CAPTIONS, **options
    )


def row(built, word):
    return built.embedding.weight[built.tokenizer.vocabulary.ids[word]].tolist()


def test_words_get_their_vectors_and_the_others_stay_random(tmp_path, caplog):
    with caplog.at_level("INFO", logger="harness"):
        built = encoder(write(tmp_path / "glove.txt"))
    assert row(built, "a") == [1, 2, 3]
    assert row(built, "dog") == [-1, -2, -3.5]
    assert row(built, "red") == [0.5, 0.25, 0], "the first line of a word counts"
    assert row(built, "t-shirt") == [7, 8, 9], "looked up as tshirt, as the authors do"
    torch.manual_seed(0)
    plain = backbones.build_text({"name": "bigru", "width": 4, "word_width": 3}, captions=CAPTIONS)
    assert row(built, "unseenword") == row(plain, "unseenword")
    assert torch.equal(built.gru.weight_ih_l0, plain.gru.weight_ih_l0), "nothing else is drawn differently"
    total = len(built.tokenizer.vocabulary)
    assert f"vectors of 4 of the vocabulary's {total} words; the other {total - 4} start random" in caplog.text
    assert built.embedding.weight.requires_grad
    assert built.pretrained_parameters() == []


def test_a_words_own_line_goes_before_its_plainer_form(tmp_path):
    built = encoder(write(tmp_path / "g.txt", "tshirt 7 8 9\nt-shirt 1 1 1\na 1 2 3\n"))
    assert row(built, "t-shirt") == [1, 1, 1]
    built = encoder(write(tmp_path / "h.txt", "t-shirt 1 1 1\ntshirt 7 8 9\na 1 2 3\n"))
    assert row(built, "t-shirt") == [1, 1, 1]


def test_a_heading_is_no_word(tmp_path):
    assert row(encoder(write(tmp_path / "v.vec", "2 3\na 1 2 3\ndog 4 5 6\n")), "dog") == [4, 5, 6]


WORDS_3 = {"a": [1, 2, 3], "dog": [-1, -2, -3.5], "red": [0.5, 0.25, 0], "tshirt": [7, 8, 9], "zebra": [1, 1, 1]}
TABLE = {word: np.array(values, dtype=np.float32) for word, values in WORDS_3.items()}


def word2vec(path, feeds=b"\n", width=3):
    """Binary form: with a line feed after each vector, as Mikolov's program writes it, or without, as gensim does."""
    body = b"".join(word.encode() + b" " + values.astype("<f4").tobytes() + feeds for word, values in TABLE.items())
    path.write_bytes(f"{len(TABLE)} {width}\n".encode() + body)


def zipped(path, **files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)


def torchtext(path):
    words = list(TABLE)
    content = (words, {word: n for n, word in enumerate(words)}, torch.tensor(np.stack(list(TABLE.values()))), 3)
    torch.save(content, path)


FORMS = {
    "glove.txt": lambda p: write(p),
    "glove.txt.gz": lambda p: p.write_bytes(gzip.compress(GLOVE.encode())),
    "glove.txt.bz2": lambda p: p.write_bytes(bz2.compress(GLOVE.encode())),
    "glove.840B.zip": lambda p: zipped(p, glove__840B__txt=GLOVE),
    "glove.6B.zip": lambda p: zipped(p, g__50d__txt="a 1 2\n", g__3d__txt=GLOVE, g__300d__txt="a 1\n"),
    "wiki.vec": lambda p: write(p, "5 3\n" + GLOVE),
    "wiki.vec.gz": lambda p: p.write_bytes(gzip.compress(b"5 3\n" + GLOVE.encode())),
    "word2vec.bin": lambda p: word2vec(p),
    "gensim.bin": lambda p: word2vec(p, b""),
    "word2vec.bin.gz": lambda p: (word2vec(p), p.write_bytes(gzip.compress(p.read_bytes()))),
    "word2vec.zip": lambda p: (word2vec(p), zipped(p, bin=p.read_bytes())),
    "torchtext.pt": torchtext,
    "dictionary.pkl": lambda p: p.write_bytes(pickle.dumps(TABLE)),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows(name, tmp_path):
    FORMS[name](tmp_path / name)
    built = encoder(tmp_path / name)
    for word, values in {**WORDS_3, "t-shirt": [7, 8, 9]}.items():
        if word not in ("zebra", "tshirt"):
            assert row(built, word) == values
    torch.manual_seed(0)
    plain = backbones.build_text({"name": "bigru", "width": 4, "word_width": 3}, captions=CAPTIONS)
    assert row(built, "unseenword") == row(plain, "unseenword")


def cut(path):
    word2vec(path)
    path.write_bytes(path.read_bytes()[:-9])


class Evil:
    def __reduce__(self):
        return eval, ("1",)


REFUSED_FORMS = {
    "another width, text": (lambda p: write(p, "5 4\n" + GLOVE), "heading says 5 vectors of width 4, expected 3"),
    "another width, binary": (lambda p: word2vec(p, width=5), "heading says 5 vectors of width 5, expected 3"),
    "another width, torchtext": (lambda p: torch.save((["a"], {"a": 0}, torch.zeros(1, 4), 4), p), r"shape \(4,\)"),
    "another width, dictionary": (lambda p: p.write_bytes(pickle.dumps({"a": np.zeros(2)})), r"shape \(2,\)"),
    "a cut binary": (cut, "word 5 is not whole"),
    "a cut gzip": (lambda p: p.write_bytes(gzip.compress(GLOVE.encode() * 99)[:-20]), "cannot be read to its end"),
    "an archive of several": (lambda p: zipped(p, a__txt=GLOVE, b__txt=GLOVE), "not one file of width 3"),
    "an empty archive": (lambda p: zipped(p), "holds nothing"),
    "code": (lambda p: p.write_bytes(pickle.dumps({"a": Evil()})), "no pickled code is ever executed.*save_word2vec_format"),
    "another dictionary": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "one matrix of floats.*got dict"),
    "a matrix without words": (lambda p: np.save(p, np.zeros((12, 3))), "a matrix without words"),
    "one endless line": (lambda p: write(p, "a " + "1 " * 600_000), "line 1 has more than"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_FORMS)
def test_other_forms_are_refused_in_one_line(name, tmp_path):
    make, complaint = REFUSED_FORMS[name]
    make(tmp_path / "v.npy")
    with pytest.raises(ItmError, match=complaint) as caught:
        encoder(tmp_path / "v.npy")
    assert "\n" not in str(caught.value)


def test_an_array_is_in_the_order_of_the_vocabulary_file(tmp_path):
    values = np.arange(18.0).reshape(6, 3)
    np.save(tmp_path / "v.npy", values)
    built = encoder(tmp_path / "v.npy", vocabulary=WORDS)
    assert built.embedding.weight.tolist() == values.tolist()


def test_a_tensor_is_in_the_order_of_the_vocabulary_file(tmp_path):
    vocabulary = Vocabulary(("<pad>", "<start>", "<end>", "<unk>", "dog", "a"))
    values = torch.arange(18.0).view(6, 3)
    torch.save(values, tmp_path / "glove.json.pkl")
    built = encoder(tmp_path / "glove.json.pkl", vocabulary=vocabulary)
    assert torch.equal(built.embedding.weight.detach(), values)


def test_a_tensor_without_a_vocabulary_file_is_refused(tmp_path):
    torch.save(torch.zeros(12, 3), tmp_path / "g.pkl")
    with pytest.raises(InvalidSpec, match=r"without words.*dataset\.vocabulary"):
        encoder(tmp_path / "g.pkl")


WORDS = Vocabulary(("<pad>", "<start>", "<end>", "<unk>", "dog", "a"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (torch.zeros(6, 4), "6 words x 4, expected 6 words .* x 3"),
        (torch.zeros(5, 3), "5 words x 3, expected 6 words"),
        (torch.zeros(6), "one matrix of floats"),
        ({"a": torch.zeros(1)}, "one matrix of floats.*got dict"),
        (torch.full((6, 3), torch.nan), "NaN"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, content, complaint):
    torch.save(content, tmp_path / "g.pkl")
    with pytest.raises((InvalidSpec, InvalidCheckpoint), match=complaint):
        encoder(tmp_path / "g.pkl", vocabulary=WORDS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a 1 2\ndog 1 2\n", r"line 1: expected a word and 3 values .*got 2"),
        ("a 1 2 3 4\ndog 1 2 3 4\n", r"line 1: expected a word and 3 values .*got 4"),
        ("a 1 2 x\ndog 1 2 3\n", "line 1: expected numbers|expected word vectors"),
        ("a 1 nan 3\ndog 1 2 3\n", "line 1 holds NaN"),
        ("katze 1 2 3\nhund 1 2 3\n", "for none of the"),
        ("<!doctype html><html>", "an HTML page"),
        ("", "an empty file"),
    ],
)
def test_texts_that_are_no_vectors_are_refused_in_one_line(tmp_path, text, complaint):
    with pytest.raises(ItmError, match=complaint) as caught:
        encoder(write(tmp_path / "g.txt", text))
    assert "\n" not in str(caught.value)


def test_a_run_is_identified_by_the_content_and_not_by_the_place(tiny, tmp_path):
    def run_id(path):
        text = {"name": "bigru", "width": 16, "word_width": 3, "embeddings": str(path)}
        return plan(load_experiment({**tiny, "text": text}))[0].run_id

    first = run_id(write(tmp_path / "a.txt"))
    assert run_id(write(tmp_path / "b.txt")) == first
    assert run_id(write(tmp_path / "c.txt", GLOVE.replace("-3.5", "-3.6"))) != first


def test_a_missing_file_is_refused_when_planning(tiny, tmp_path):
    text = {"name": "bigru", "width": 16, "embeddings": str(tmp_path / "gone.txt")}
    with pytest.raises(InvalidSpec, match="cannot read the word vectors: No such file"):
        plan(load_experiment({**tiny, "text": text}))


def test_a_saved_model_needs_the_file_no_more(tmp_path):
    from harness.registry import create
    from harness.runs.saved_models import load_model, save_model

    path = write(tmp_path / "glove.txt")
    image = backbones.build_image({"name": "regions", "width": 4}, region_width=3)
    text = encoder(path)
    save_model(create("chan", image_encoder=image, text_encoder=text), tmp_path / "m.safetensors")
    path.unlink()
    loaded = load_model(tmp_path / "m.safetensors")
    assert torch.equal(loaded.text_encoder.embedding.weight, text.embedding.weight)
