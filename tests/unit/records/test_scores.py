"""Score matrices as any program may have saved them: ranked exactly as they stand, or refused in one line."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from harness.cli.main import main
from harness.errors import InvalidSimilarity
from harness.metrics import count_ranks, relevance_metrics, retrieval_metrics
from harness.records.scores import comparable, mean_scores, open_member, open_scores
from harness.spec import Component

OWNER = np.repeat(np.arange(6), 2)
SHAPE = (6, 12)


def naive(scores, owner=OWNER) -> tuple[list[int], list[int]]:
    """Pessimistic ranks by comparing Python's own numbers, which are exact at any size."""
    rows = [[value.item() if value.dtype.itemsize <= 8 else value for value in row] for row in scores]
    i2t = []
    for i, row in enumerate(rows):
        best = max(value for value, image in zip(row, owner, strict=True) if image == i)
        i2t.append(sum(value >= best for value, image in zip(row, owner, strict=True) if image != i))
    t2i = [sum(row[t] >= rows[image][t] for i, row in enumerate(rows) if i != image) for t, image in enumerate(owner)]
    return i2t, t2i


def integers(dtype: str, around: int) -> np.ndarray:
    """Neighbouring whole numbers, which float64 (and float32) may merge."""
    steps = np.random.default_rng(0).integers(0, 9, SHAPE)
    return np.array([[around + int(step) for step in row] for row in steps], dtype=dtype)


def floats(dtype: str, spacing: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(1).integers(0, 20, SHAPE).astype(np.longdouble) * spacing + 1).astype(dtype)


MATRICES = {
    "float32": floats("<f4"),
    "float16": floats("<f2"),
    "big-endian float32": floats(">f4"),
    "big-endian float64": floats(">f8"),
    "big-endian float16": floats(">f2"),
    "float64 that collapses in float32": floats("<f8", 2.0**-40),
    "big-endian float64 that collapses in float32": floats(">f8", 2.0**-40),
    "long double that collapses in float64": floats("longdouble", 2.0**-60),
    "long double": floats("longdouble"),
    "int8": integers("i1", -4),
    "big-endian int16": integers(">i2", -4),
    "uint8": integers("u1", 0),
    "uint32 above float32": integers("u4", 2**31),
    "int32 above float32": integers("i4", 2**30),
    "int64 above 2^53": integers("<i8", 2**53 + 1),
    "int64 below -2^53": integers("<i8", -(2**60)),
    "big-endian int64 above 2^53": integers(">i8", 2**62 + 1),
    "uint64 above 2^63": integers("<u8", 2**64 - 10),
    "bool": np.random.default_rng(2).random(SHAPE) < 0.5,
    "Fortran order": np.asfortranarray(floats("<f4")),
    "Fortran order, big-endian int64": np.asfortranarray(integers(">i8", 2**60)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_saved_matrix_ranks_as_its_numbers_do(name, tmp_path):
    np.save(tmp_path / "s.npy", MATRICES[name])
    opened = open_scores(tmp_path / "s.npy", *SHAPE)
    i2t, t2i = count_ranks(opened, OWNER).ranks()
    assert (i2t.tolist(), t2i.tolist()) == naive(MATRICES[name])


@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_handed_to_the_metrics_ranks_as_its_numbers_do(name):
    i2t, t2i = count_ranks(MATRICES[name], OWNER).ranks()
    assert (i2t.tolist(), t2i.tolist()) == naive(MATRICES[name])
    relevance = OWNER[None, :] == np.arange(6)[:, None]
    many = relevance_metrics(MATRICES[name], relevance)
    own = retrieval_metrics(MATRICES[name], OWNER)
    assert {key: many[key] for key in own} == pytest.approx(own)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool, torch.float16])
def test_a_tensor_ranks_as_its_numbers_do(dtype):
    around = 2**53 + 1 if dtype == torch.int64 else 0
    matrix = torch.from_numpy(integers("i8", around)).to(dtype)
    i2t, t2i = count_ranks(matrix, OWNER).ranks()
    assert (i2t.tolist(), t2i.tolist()) == naive(matrix.numpy())


def test_plain_floats_stay_memory_mapped(tmp_path):
    np.save(tmp_path / "s.npy", floats("<f4"))
    assert isinstance(open_scores(tmp_path / "s.npy", *SHAPE), np.memmap)


@pytest.mark.parametrize("dtype", [">f8", "<f2", ">i4", "bool", "u1", "<i8"])
def test_a_mean_is_that_of_the_values(dtype, tmp_path):
    matrices = [integers("i8", 0).astype(dtype), (integers("i8", 3) // 2).astype(dtype)]
    for number, matrix in enumerate(matrices):
        np.save(tmp_path / f"{number}.npy", matrix)
    mean = mean_scores([open_member(tmp_path / f"{n}.npy", *SHAPE) for n in range(2)])
    assert mean.tolist() == ((matrices[0].astype(float) + matrices[1].astype(float)) / 2).tolist()


@pytest.mark.parametrize("name", ["int64 above 2^53", "uint64 above 2^63", "long double that collapses in float64"])
def test_a_mean_that_would_round_is_refused(name, tmp_path):
    np.save(tmp_path / "s.npy", MATRICES[name])
    with pytest.raises(InvalidSimilarity, match="float64 would round"):
        open_member(tmp_path / "s.npy", *SHAPE)


def test_nan_is_found_in_every_type(tmp_path):
    for dtype in ("<f2", ">f4", "<f8", "longdouble"):
        matrix = floats(dtype).copy()
        matrix[2, 3] = np.nan
        np.save(tmp_path / "s.npy", matrix)
        with pytest.raises(InvalidSimilarity, match="nan at image 2, caption 3"):
            open_scores(tmp_path / "s.npy", *SHAPE)
        with pytest.raises(InvalidSimilarity, match="nan at image 2, caption 3"):
            count_ranks(matrix, OWNER)


@pytest.mark.parametrize(
    ("matrix", "complaint"),
    [
        (np.ones(SHAPE, complex), r"complex numbers \(complex128\)"),
        (np.ones(SHAPE, "U3"), "text"),
        (np.ones(SHAPE, "S3"), "bytes"),
        (np.ones(SHAPE, "M8[D]"), "dates"),
        (np.zeros(SHAPE, [("a", "f4")]), "records"),
    ],
)
def test_what_are_no_real_numbers_is_refused(matrix, complaint, tmp_path):
    np.save(tmp_path / "s.npy", matrix)
    with pytest.raises(InvalidSimilarity, match=complaint):
        open_scores(tmp_path / "s.npy", *SHAPE)
    with pytest.raises(InvalidSimilarity, match=complaint):
        comparable(matrix)


def write_torch(path: Path) -> None:
    torch.save(torch.zeros(SHAPE), path)


def write_truncated(path: Path) -> None:
    np.save(path.with_suffix(".npy"), floats("<f4"))
    content = path.with_suffix(".npy").read_bytes()
    path.with_suffix(".npy").unlink()
    path.write_bytes(content[:-40])


def write_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=floats("<f4"))


def write_objects(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, {"npts": 6, "sims": floats("<f4")}, allow_pickle=True)


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10\n"
#: file name, how it is written, what the message says of it, what it says to do
STRANGERS = {
    "missing": ("gone.npy", None, "does not exist", "expected a NumPy array"),
    "folder": ("a_folder", lambda p: p.mkdir(), "is a folder", "expected a NumPy array"),
    "csv": ("s.csv", lambda p: p.write_text("1.0,2.0\n3.0,4.0\n"), "a CSV table", "numpy.loadtxt"),
    "text": ("s.txt", lambda p: p.write_text("1.0 2.0\n3.0 4.0\n"), "a text of numbers", "numpy.loadtxt"),
    "torch": ("s.pt", write_torch, "a PyTorch file", "numpy.save"),
    "npz": ("s.npz", write_npz, "a NumPy archive (.npz) of 1 array", "not numpy.savez"),
    "authors' dictionary": ("s.npy", write_objects, "a .npy file of Python objects", "['sims']"),
    "pickle": ("s.pkl", lambda p: p.write_bytes(pickle.dumps([1, 2])), "a Python pickle", "numpy.save"),
    "safetensors": ("s.safetensors", lambda p: save_file({"s": floats("<f4")}, p), "a safetensors file", "numpy.save"),
    "gzip": ("s.npy.gz", lambda p: p.write_bytes(gzip.compress(b"x" * 99)), "a gzip-compressed file", "gunzip"),
    "html": ("s.npy", lambda p: p.write_text("<!DOCTYPE html><html>"), "an HTML page", "download"),
    "lfs": ("s.npy", lambda p: p.write_text(LFS), "a Git LFS pointer", "git lfs pull"),
    "empty": ("s.npy", lambda p: p.write_bytes(b""), "an empty file", "again"),
    "yaml": ("e.yaml", lambda p: p.write_text("name: x\ndataset: scenes\n"), "a YAML text", "dataset after --dataset"),
    "run": ("a.run", lambda p: p.write_text("q1 Q0 d1 1 0.5 tag\nq1 Q0 d2 2 0.4 tag\n"), "a TREC run", "itm significance"),
    "json": ("s.json", lambda p: p.write_text(json.dumps([[1.0]])), "a JSON file", "numpy.save"),
    "truncated": ("s.npy", write_truncated, "cannot be read", "write it again"),
    "hdf5": ("s.h5", lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(9)), "an HDF5 file", "numpy.save"),
    "unknown": ("s.npy", lambda p: p.write_bytes(struct.pack("9d", *[1.5] * 9)), "binary file", "numpy.save"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGERS)
def test_a_file_that_is_no_matrix_is_named(name, tmp_path):
    file, write, what, todo = STRANGERS[name]
    if write:
        write(tmp_path / file)
    with pytest.raises(InvalidSimilarity) as caught:
        open_scores(tmp_path / file, *SHAPE)
    assert what in str(caught.value)
    assert todo in str(caught.value)
    assert "\n" not in str(caught.value)


TINY = ["--set", "train_images=4", "--set", "val_images=4", "--set", "test_images=8"]


@pytest.mark.parametrize("dtype", [">f8", ">i8", "<f2", "u8", "bool"])
def test_the_command_takes_every_kind_of_number(dtype, tmp_path, capsys):
    from harness import datasets

    options = {"train_images": 4, "val_images": 4, "test_images": 8}
    split = datasets.open_dataset(Component(name="scenes", options=options)).split("test")
    right = (np.arange(8)[:, None] == split.caption_image[None, :]).astype(dtype)
    np.save(tmp_path / "s.npy", right)
    with pytest.raises(SystemExit) as exit_code:
        main(["evaluate", str(tmp_path / "s.npy"), "--dataset", "scenes", *TINY, "--protocol", "full"])
    assert exit_code.value.code == 0
    assert "600.00" in capsys.readouterr().out


def test_the_command_refuses_complex_numbers_in_one_line(tmp_path, capsys):
    np.save(tmp_path / "s.npy", np.ones(SHAPE, complex))
    with pytest.raises(SystemExit) as exit_code:
        main(["evaluate", str(tmp_path / "s.npy"), "--dataset", "scenes", *TINY])
    assert exit_code.value.code == 2
    assert "complex numbers" in capsys.readouterr().err
