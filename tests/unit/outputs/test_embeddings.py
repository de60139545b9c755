"""Embeddings of both sides: the numbers of the product that a naive loop computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from outputs_cases import IMAGES, OWNER, PER_IMAGE, TEXTS
from safetensors.torch import save_file

from harness.metrics import retrieval_metrics
from harness.scoring import StreamedScores, streaming

WIDTH = 8


def vectors(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    images = random.normal(size=(IMAGES, WIDTH)).astype(np.float32) * random.uniform(0.5, 2, (IMAGES, 1)).astype("f4")
    captions = images[OWNER] + 1.2 * random.normal(size=(TEXTS, WIDTH)).astype(np.float32)
    return images, captions


LEFT, RIGHT = vectors()


def naive(images, captions, cosine=True) -> dict[str, float]:
    """The metrics of scores that are summed one by one."""
    scores = np.zeros((len(images), len(captions)))
    for i, image in enumerate(images.astype(float)):
        for t, caption in enumerate(captions.astype(float)):
            product = sum(a * b for a, b in zip(image, caption, strict=True))
            scores[i, t] = product / (np.linalg.norm(image) * np.linalg.norm(caption)) if cosine else product
    return retrieval_metrics(scores, OWNER)


def npy(folder, images=LEFT, captions=RIGHT):
    np.save(folder / "img.npy", images)
    np.save(folder / "cap.npy", captions)
    return "--images", folder / "img.npy", "--captions", folder / "cap.npy"


def npz(folder):
    np.savez(folder / "e.npz", img_embs=LEFT, cap_embs=RIGHT)
    return (folder / "e.npz",)


def safe(folder):
    tensors = {"image_features": torch.from_numpy(LEFT), "text_features": torch.from_numpy(RIGHT)}
    save_file(tensors, folder / "e.safetensors")
    return (folder / "e.safetensors",)


def torch_file(folder):
    torch.save({"images": torch.from_numpy(LEFT), "captions": torch.from_numpy(RIGHT), "note": "x"}, folder / "e.pt")
    return (folder / "e.pt",)


SHAPES = {
    "two arrays": npy,
    "repeated per caption, float64, as VSE++": lambda f: npy(
        f, LEFT[OWNER].astype(np.float64), RIGHT.astype(np.float64)
    ),
    "repeated with the rounding of another batch": lambda f: npy(
        f, LEFT[OWNER] + np.where(np.arange(TEXTS) % PER_IMAGE == 0, 0, 1e-5)[:, None].astype(np.float32)
    ),
    "npz": npz,
    "safetensors": safe,
    "torch": torch_file,
}


def test_embeddings_whose_scores_do_not_fit_are_streamed_once_for_all_numbers(evaluate, tmp_path, monkeypatch):
    expected = evaluate(*npy(tmp_path), "--ties", "all")
    passes = []
    tiles = StreamedScores.tiles
    monkeypatch.setattr(
        StreamedScores, "tiles", lambda self, *args, **given: passes.append(1) or tiles(self, *args, **given)
    )
    monkeypatch.setattr(streaming, "fits", lambda *_: False)
    found = evaluate(*npy(tmp_path), "--ties", "all")
    assert found.content["metrics"] == expected.content["metrics"]
    assert found.content["shape"] == expected.content["shape"]
    assert "counted tile by tile, since the matrix does not fit in memory" in found.err + found.out
    assert len(passes) == 1


@pytest.mark.parametrize("name", SHAPES)
def test_cosines_are_those_of_a_naive_loop(name, evaluate, tmp_path):
    found = evaluate(*SHAPES[name](tmp_path))
    assert found.code == 0, found.err
    assert found.full == pytest.approx(naive(LEFT, RIGHT))
    assert "embeddings of width 8, compared by cosine" in found.content["shape"]
    assert ("the first of each image is taken" in found.err) == name.startswith("repeated")


def test_dot_products_are_those_of_the_vectors_as_they_are(evaluate, tmp_path):
    expected = naive(LEFT, RIGHT, cosine=False)
    assert expected != naive(LEFT, RIGHT), "or this test shows nothing"
    assert evaluate(*npy(tmp_path), "--measure", "dot").full == pytest.approx(expected)


def test_half_precision_is_read(evaluate, tmp_path):
    left, right = LEFT.astype(np.float16), RIGHT.astype(np.float16)
    assert evaluate(*npy(tmp_path, left, right)).full == pytest.approx(naive(left, right))


def test_bfloat16_is_read(evaluate, tmp_path):
    tensors = {"img": torch.from_numpy(LEFT).bfloat16(), "txt": torch.from_numpy(RIGHT).bfloat16()}
    save_file(tensors, tmp_path / "e.safetensors")
    rounded = (tensors["img"].float().numpy(), tensors["txt"].float().numpy())
    assert evaluate(tmp_path / "e.safetensors").full == pytest.approx(naive(*rounded))


def test_zero_vectors_are_named(evaluate, tmp_path):
    left = LEFT.copy()
    left[3] = 0
    assert "1 vectors are zero" in evaluate(*npy(tmp_path, left)).err


def nan(array):
    array = array.copy()
    array[7, 2] = np.nan
    return array


REFUSED = {
    "changed places": (lambda f: npy(f, RIGHT, LEFT), "they have changed places"),
    "widths": (lambda f: npy(f, LEFT, RIGHT[:, :4]), "image vectors have width 8 and caption vectors 4"),
    "counts": (lambda f: npy(f, LEFT[:19]), "19 vectors and "),
    "NaN": (lambda f: npy(f, LEFT, nan(RIGHT)), "holds NaN or infinite values in the array, row 7"),
    "fragments": (lambda f: npy(f, LEFT[:, None]), "fragments need their method's scores"),
    "text": (lambda f: npy(f, LEFT.astype(str)), "one vector per item (N, D) is expected"),
    "repeated rows that differ": (lambda f: npy(f, np.roll(LEFT[OWNER], 1, 0)), "differ and belong to one image"),
    "one side": (lambda f: npy(f)[:2], "embeddings need both --images and --captions"),
    "a matrix too": (lambda f: (f / "img.npy", *npy(f)), "no further file of scores"),
    "no option": (lambda f: npy(f)[1::2], "embeddings go with --images and --captions"),
    "nothing": (lambda f: (), "no results given"),
    "missing": (lambda f: ("--images", f / "gone.npy", "--captions", f / "gone.npy"), "does not exist"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(name, evaluate, tmp_path):
    write, message = REFUSED[name]
    assert message in evaluate(*write(tmp_path)).error


def test_names_that_say_no_side_are_refused(evaluate, tmp_path):
    np.savez(tmp_path / "e.npz", a=LEFT, b=RIGHT)
    assert "holds a, b: no score matrix, embeddings, ranks or candidate lists" in evaluate(tmp_path / "e.npz").error
