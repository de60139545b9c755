"""Score matrices in every shape that other programs save: the numbers of the plain array, or one line of refusal."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from outputs_cases import IMAGES, OWNER, PER_IMAGE, TEXTS, scores, write_dataset
from safetensors.numpy import save_file

from harness.files.pickles import plain
from harness.metrics import retrieval_metrics

MATRIX = scores()


def authors(path, protocol=4, **more):
    """As vse_infty, CHAN, LAPS, AVSE, HREM, D2S-VSE and ESL save theirs, under any protocol of pickle."""
    content = np.array({"npts": IMAGES, "sims": MATRIX, **more})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    path.write_bytes(header.getvalue() + pickle.dumps(content, protocol=protocol))


def respelt(path):
    """The same file as numpy 1 writes it."""
    authors(path, 2)
    path.write_bytes(path.read_bytes().replace(b"numpy._core", b"numpy.core"))


SHAPES = {
    "npy": lambda p: np.save(p, MATRIX),
    "float64": lambda p: np.save(p, MATRIX.astype(np.float64)),
    "transposed": lambda p: np.save(p, MATRIX.T),
    "npts and sims": lambda p: np.save(p, {"npts": IMAGES, "sims": MATRIX}),
    "npts of numpy": lambda p: np.save(p, {"npts": np.int64(IMAGES), "sims": MATRIX.astype(np.float64)}),
    "protocol 2": lambda p: authors(p, 2),
    "protocol 3": lambda p: authors(p, 3),
    "protocol 5": lambda p: authors(p, 5),
    "numpy 1": respelt,
    "Fortran order": lambda p: np.save(p, {"npts": IMAGES, "sims": np.asfortranarray(MATRIX)}),
    "big-endian": lambda p: np.save(p, {"npts": IMAGES, "sims": MATRIX.astype(">f4")}),
    "npts and transposed sims": lambda p: np.save(p, {"npts": IMAGES, "sims": MATRIX.T}),
    "a pickle": lambda p: p.write_bytes(pickle.dumps({"npts": IMAGES, "sims": MATRIX})),
    "a pickled array": lambda p: p.write_bytes(pickle.dumps(MATRIX, protocol=5)),
    "text": lambda p: np.savetxt(p, MATRIX, fmt="%.5f"),
    "text in exponents": lambda p: np.savetxt(p, MATRIX),
    "text with commas": lambda p: np.savetxt(p, MATRIX, fmt="%.5f", delimiter=","),
    "transposed text": lambda p: np.savetxt(p, MATRIX.T, fmt="%.5f"),
    "npz": lambda p: np.savez(p.open("wb"), sims=MATRIX),
    "safetensors": lambda p: save_file({"sims": MATRIX}, p),
    "torch": lambda p: torch.save(torch.from_numpy(MATRIX), p),
    "torch of a dictionary": lambda p: torch.save({"npts": IMAGES, "sims": torch.from_numpy(MATRIX)}, p),
    "torch of an array": lambda p: torch.save({"npts": IMAGES, "sims": MATRIX}, p),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_gives_the_numbers_of_the_plain_array(name, evaluate, tmp_path):
    path = tmp_path / "results.npy"
    SHAPES[name](path)
    found = evaluate(path)
    assert found.code == 0, found.err
    assert found.full == pytest.approx(retrieval_metrics(MATRIX, OWNER), rel=0, abs=1e-9)
    assert found.content["units"]["r1, r5, r10, map_at_r, r_precision"] == "percent"
    assert (found.content["images"], found.content["captions"]) == (IMAGES, TEXTS)
    assert ("the matrix is turned" in found.err) == ("transposed" in name)
    assert "an image searches captions" in found.out
    assert "in percent" in found.out


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch executed",)


class Builder:
    """An object whose state would be set by the pickle."""


def huge(path):
    """A shape of 10^12 numbers in twelve bytes."""
    content = pickle.dumps(np.zeros(3, np.float32), protocol=2)
    path.write_bytes(content.replace(b"K\x03\x85", b"\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85", 1))


def renumbered(path):
    """Asks for a memo of four thousand million entries."""
    path.write_bytes(b"\x80\x02}r\xf0\xff\xff\xff.")


def nested(path):
    value = MATRIX
    for _ in range(5):
        value = {"sims": value}
    np.save(path, value)


REFUSED = {
    "a call": (lambda p: np.save(p, {"npts": Evil(), "sims": MATRIX}), "asks for posix.system, and no pickled code"),
    "a call beside a matrix": (lambda p: p.write_bytes(pickle.dumps([Evil(), MATRIX])), "asks for posix.system"),
    "an object": (lambda p: np.save(p, Builder()), "holds the instruction NEWOBJ, which plain numbers do not need"),
    "a change of a function": (
        lambda p: p.write_bytes(
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nN}X\x07\x00\x00\x00__doc__X\x07\x00\x00\x00changeds\x86b."
        ),
        "it changes a function",
    ),
    "a function": (
        lambda p: p.write_bytes(b"\x80\x02}X\x04\x00\x00\x00simscnumpy.core.multiarray\n_reconstruct\ns."),
        "a name where a value is expected",
    ),
    "a builtin": (lambda p: p.write_bytes(pickle.dumps({"sims": eval, "npts": 1})), "asks for builtins.eval"),
    "a tensor in a pickle": (lambda p: np.save(p, {"npts": 20, "sims": torch.zeros(2)}), "asks for torch._utils"),
    "a huge shape": (huge, "an array of shape (1000000000000,) in 12 bytes"),
    "a huge memo": (renumbered, "it numbers a value beyond those that it has"),
    "a deep nest": (nested, "holds sims"),
    "a cut pickle": (lambda p: (authors(p), p.write_bytes(p.read_bytes()[:-600])), "is damaged"),
    "text instead of numbers": (lambda p: np.save(p, {"npts": 20, "sims": np.array(["a"])}), "'U1'"),
    "objects in an array": (lambda p: np.save(p, np.array([{}, {}], object)), "shape (2,), expected numbers, or one dictionary"),
    "npts of other data": (lambda p: authors(p, npts=19), "says npts = 19 (images) but its sims have 20 rows"),
    "two arrays": (lambda p: authors(p, more=MATRIX), "holds npts, sims, more: no score matrix"),
    "another dictionary": (lambda p: np.save(p, {"a": 1}), "holds a: no score matrix"),
    "another shape": (lambda p: np.save(p, MATRIX[:19]), "has shape (19, 100), the dataset has 20 images"),
    "NaN": (lambda p: np.save(p, {"npts": 20, "sims": MATRIX * np.nan}), "holds nan at image 0, caption 0"),
    "a hole in a text": (lambda p: p.write_text("1.5 2.5\n" * 30 + "1.5\n"), "row 31 has 1 numbers, the first row 2"),
    "a word in a text": (lambda p: p.write_text("1 2\n" * 30 + "1 x\n"), "row 31 holds 'x', which is no number"),
    "a raw memory map": (lambda p: MATRIX.tofile(p), "a raw memory map has no shape"),
    "a page": (lambda p: p.write_text("<!DOCTYPE html><html>"), "is an HTML page"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_in_one_line(name, evaluate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write, message = REFUSED[name]
    write(tmp_path / "results.npy")
    assert message in evaluate("results.npy").error
    assert not (tmp_path / "executed").exists()


def test_a_square_matrix_says_what_its_rows_are(evaluate, tmp_path):
    root = write_dataset(tmp_path / "one_each", 12, per_image=1)
    square = scores(12, 12)
    np.save(tmp_path / "s.npy", square)
    np.save(tmp_path / "t.npy", square.T)
    assert "say which with --rows images or --rows captions" in evaluate(tmp_path / "s.npy", root=root).error
    own = retrieval_metrics(square, np.arange(12))
    assert own["i2t_r1"] != own["t2i_r1"], "or this test shows nothing"
    for file, rows in (("s", "images"), ("t", "captions")):
        assert evaluate(tmp_path / f"{file}.npy", "--rows", rows, root=root).full == pytest.approx(own)


def test_rows_that_the_shape_contradicts_are_refused(evaluate, tmp_path):
    np.save(tmp_path / "s.npy", MATRIX)
    assert "with captions as rows (100, 20) is expected" in evaluate(tmp_path / "s.npy", "--rows", "captions").error


def test_a_rounded_text_says_what_rounding_does(evaluate, tmp_path):
    np.savetxt(tmp_path / "s.txt", MATRIX, fmt="%.1f")
    found = evaluate(tmp_path / "s.txt")
    rounded = np.loadtxt(tmp_path / "s.txt")
    low, high = (retrieval_metrics(rounded, OWNER, rule) for rule in ("pessimistic", "optimistic"))
    assert low["rsum"] < high["rsum"]
    (line,) = [line for line in found.err.splitlines() if "1 decimals" in line]
    assert f"{100 * low['tie_rate']:.2f} % of the queries tie" in line
    assert f"{high['rsum']:.2f} with tied items last (optimistic), {low['rsum']:.2f}" in line


def test_half_precision_says_so_too(evaluate, tmp_path):
    np.save(tmp_path / "s.npy", MATRIX.astype(np.float16))
    assert "the scores have float16: " in evaluate(tmp_path / "s.npy").err


def test_a_misaligned_direction_is_named(evaluate, tmp_path):
    shuffled = np.random.default_rng(0).permutation(TEXTS)
    np.save(tmp_path / "s.npy", MATRIX[:, shuffled])
    err = evaluate(tmp_path / "s.npy").err
    assert "i2t (an image searches captions) ranks no better than chance" in err
    assert "t2i (a caption searches images) ranks no better than chance" in err
    np.save(tmp_path / "s.npy", MATRIX)
    assert "chance" not in evaluate(tmp_path / "s.npy").err


def test_one_direction_at_chance_is_named_alone(evaluate, tmp_path):
    # A bonus per image moves every column alike: images no longer find captions by it, captions still find images.
    biased = MATRIX.astype(np.float64)
    biased[np.arange(IMAGES)[:, None], np.arange(TEXTS)] += 0
    biased += 100 * np.random.default_rng(1).permutation(TEXTS)[None]
    np.save(tmp_path / "s.npy", biased)
    err = evaluate(tmp_path / "s.npy").err
    assert "i2t (an image searches captions) ranks no better than chance" in err
    assert "t2i (a caption" not in err


def test_ensembles_take_every_shape_of_a_matrix(evaluate, tmp_path):
    other = scores(seed=1)
    np.savetxt(tmp_path / "a.txt", MATRIX, fmt="%.5f")
    np.save(tmp_path / "b.npy", {"npts": IMAGES, "sims": other})
    found = evaluate(tmp_path / "a.txt", tmp_path / "b.npy", "--ensemble")
    mean = (MATRIX.astype(np.float64) + other.astype(np.float64)) / 2
    assert found.full["rsum"] == pytest.approx(retrieval_metrics(mean, OWNER)["rsum"])
    assert found.content["origin"] == "ensemble"


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """As many images as coco_1k asks for, with two captions each."""
    return write_dataset(tmp_path_factory.mktemp("data") / "coco_precomp", 5000, per_image=2)


def fold_scores(fold: int) -> np.ndarray:
    """(1000, 2000) uint8 digits."""
    random = np.random.default_rng(fold)
    matrix = random.integers(0, 6, (1000, 2000), dtype=np.uint8)
    matrix[np.arange(2000) // 2, np.arange(2000)] += random.integers(0, 5, 2000, dtype=np.uint8)
    return matrix


def as_text(digits: np.ndarray) -> bytes:
    text = np.full((len(digits), 2 * digits.shape[1]), ord(" "), dtype=np.uint8)
    text[:, ::2] = digits + ord("0")
    text[:, -1] = ord("\n")
    return text.tobytes()


@pytest.mark.parametrize("given", ["folder of texts", "list of arrays, out of order", "transposed arrays"])
def test_five_shards_are_the_mean_over_folds(given, evaluate, coco, tmp_path):
    shards = [fold_scores(fold) for fold in range(5)]
    texts, turned = given == "folder of texts", given == "transposed arrays"
    for fold, shard in enumerate(shards):
        if texts:
            (tmp_path / f"{fold}sim_best.txt").write_bytes(as_text(shard))
        else:
            np.save(tmp_path / f"{fold}sim_best.npy", shard.T if turned else shard)
    files = [tmp_path] if texts else [tmp_path / f"{fold}sim_best.npy" for fold in (3, 1, 0, 4, 2)]
    found = evaluate(*files, "--set", "captions_per_image=2", root=coco)
    assert found.code == 0, found.err
    parts = [retrieval_metrics(shard, np.arange(2000) // 2) for shard in shards]
    mean = {key: np.mean([part[key] for part in parts]) for key in parts[0]}
    assert found.content["metrics"]["coco_1k"]["pessimistic"] == pytest.approx(mean)
    assert set(found.content["metrics"]) == {"coco_1k"}, "no other protocol can be computed from the folds"
    assert "5 shards hold each fold's own" in found.content["not_evaluated"]["coco_5k"]
    suffix = "txt" if texts else "npy"
    assert ", ".join(f"{fold}sim_best.{suffix}" for fold in range(5)) + ": the score matrices of 5 folds" in found.err


def test_shards_are_told_from_members_of_an_ensemble_by_their_shape(evaluate, tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", MATRIX)
    assert "2 matrices need --ensemble" in evaluate(tmp_path / "a.npy", tmp_path / "b.npy").error
    np.save(tmp_path / "b.npy", MATRIX[:7, :9])
    np.save(tmp_path / "a.npy", MATRIX[:7, :9])
    assert "neither matrices of 20 images x 100 captions" in evaluate(tmp_path / "a.npy", tmp_path / "b.npy").error


def test_a_protocol_that_shards_cannot_give_is_refused(evaluate, tmp_path):
    for fold in range(2):
        np.save(tmp_path / f"{fold}.npy", MATRIX[:10, : 10 * PER_IMAGE])
    assert "protocol full needs the scores of all pairs" in evaluate(tmp_path, "--protocol", "full").error


def test_a_folder_of_something_else_is_refused(evaluate, tmp_path):
    (tmp_path / "notes.md").write_text("x")
    assert "holds 0 files with a number in their name" in evaluate(tmp_path).error


def test_a_list_that_stands_in_many_places_is_gone_through_once():
    """Gone through wherever it stands, the innermost list alone would be copied nine million times."""
    found = plain([[[1.5] * 3000] * 3000] * 3000)
    assert found[0] is found[-1]
    assert found[0][0] is found[-1][-1]
    assert found[0][0] == [1.5] * 3000
