"""Streaming: the ranks, metrics and scores of the whole matrix, tile by tile, in bounded memory."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import protocols
from harness.errors import InvalidFragments, InvalidSimilarity, ItmError, ResultsNotWritable
from harness.fragments import Fragments
from harness.metrics import ScoreSource, Tile, retrieval_metrics
from harness.metrics import tallies as counting
from harness.protocols.folds import FULL
from harness.protocols.scenes import SCENES_RELEVANCE
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.registry import create
from harness.runs.experiment import run_experiment
from harness.scorer import Scorer
from harness.scoring import StreamedScores, scores_of, similarity_matrix, spilled, streaming
from harness.scoring.inputs import encode_sides, encode_split
from harness.scoring.spilled import Keeping
from harness.spec import load_experiment

RULES = ("pessimistic", "optimistic", "expected")
FOLDED = dataclasses.replace(FULL, name="folded", folds=3)


def fragments(items: int, longest: int, seed: int, width: int = 8) -> Fragments:
    generator = torch.Generator().manual_seed(seed)
    features = torch.nn.functional.normalize(torch.randn(items, longest, width, generator=generator), dim=-1)
    mask = torch.rand(items, longest, generator=generator) < 0.6
    mask[:, 0] = True
    return Fragments(features, mask)


def in_file(side: Fragments, seed: int = 0, batch: int = 5):
    """A side whose distinct items lie in a file in another order."""
    keeping, order = Keeping("items", 0), torch.randperm(len(side), generator=torch.Generator().manual_seed(seed))
    for part in order.split(batch):
        keeping.add(side[part], 1.0)
    return keeping.finish(torch.argsort(order))


class Tiles(ScoreSource):
    """A matrix in tiles of random rows and columns."""

    def __init__(self, matrix: np.ndarray, rows: int, columns: int, seed: int):
        self.matrix, self.rows, self.columns = matrix, rows, columns
        self.tensor = torch.from_numpy(matrix)
        self.random = np.random.default_rng(seed)

    @property
    def shape(self):
        return self.matrix.shape

    def of_pairs(self, images, captions):
        assert len(set(zip(images.tolist(), captions.tolist(), strict=True))) == len(images)
        return self.matrix[images, captions].astype(np.float64)

    def tiles(self, searched=False):
        rows, columns = (torch.from_numpy(self.random.permutation(n)) for n in self.shape)
        for some_rows in rows.split(self.rows):
            for some in columns.split(self.columns):
                yield Tile(some_rows, some, self.tensor[some_rows[:, None], some])


@st.composite
def problems(draw: st.DrawFn):
    """Few distinct values (many ties), unequal captions per image, further positives, tiles of any size."""
    images = draw(st.integers(3, 9))
    extra = draw(st.lists(st.integers(0, images - 1), max_size=12))
    owner = np.array([*range(images), *extra])[draw(st.permutations(range(images + len(extra))))]
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    scores = random.choice([-1.0, 0.0, 0.5, 1.0], (images, len(owner))).astype(np.float32)
    relevance = random.random(scores.shape) < draw(st.sampled_from([0.0, 0.3, 0.9]))
    relevance[owner, np.arange(len(owner))] = True
    subject = protocols.Subject(
        image_ids=[f"i{n}" for n in range(images)],
        caption_ids=[f"c{n}" for n in range(len(owner))],
        caption_image=owner,
        relevance=relevance,
        title="scenes",
    )
    return scores, subject, draw(st.integers(1, 10)), draw(st.integers(1, 20)), draw(st.sampled_from([2, 12]))


@settings(max_examples=60, deadline=None)
@given(problems(), st.sampled_from(RULES))
def test_tiles_give_the_metrics_and_ranks_of_the_matrix_under_every_protocol(problem, ties):
    scores, subject, rows, columns, worth_sorting = problem
    source = Tiles(scores, rows, columns, seed=rows)
    before, counting.WORTH_SORTING = counting.WORTH_SORTING, worth_sorting  # both ways of counting
    try:
        for protocol in (FULL, FOLDED, SCENES_RELEVANCE):
            whole, tiled = (protocol.evaluate(given, subject, ties) for given in (scores, source))
            assert whole.metrics == tiled.metrics
            for field in dataclasses.fields(whole.ranks):
                np.testing.assert_array_equal(getattr(whole.ranks, field.name), getattr(tiled.ranks, field.name))
    finally:
        counting.WORTH_SORTING = before


def test_folds_are_ranked_as_matrices_of_their_own():
    random = np.random.default_rng(0)
    owner = np.sort(np.r_[np.arange(9), random.integers(0, 9, 20)])
    scores = random.normal(size=(9, 29)).round(1)
    subject = protocols.Subject(
        image_ids=[str(n) for n in range(9)], caption_ids=[str(n) for n in range(29)], caption_image=owner
    )
    found = FOLDED.evaluate(Tiles(scores, 4, 5, 0), subject).metrics
    parts = [
        retrieval_metrics(scores[n : n + 3][:, owner // 3 == n // 3], owner[owner // 3 == n // 3] - n)
        for n in (0, 3, 6)
    ]
    assert found == pytest.approx({key: np.mean([part[key] for part in parts]) for key in found}, abs=1e-12)


class MeanDot(Scorer):
    """A scorer of the plain route."""

    def score(self, images, texts):
        means = [(side.features * side.mask[..., None]).sum(1) / side.lengths[:, None] for side in (images, texts)]
        return means[0] @ means[1].T


SCORERS = {"plain": MeanDot, **{name: (lambda name=name: create(name)) for name in ("chan", "scan", "grm", "vsepp")}}


@pytest.fixture
def gallery():
    """40 images, 90 captions, some of both twice."""
    images, texts = fragments(38, 5, 1), fragments(84, 6, 2)
    return images[[*range(38), 0, 7]], texts[[*range(84), 0, 1, 2, 3, 40, 83]]


@pytest.mark.parametrize("name", SCORERS)
@pytest.mark.parametrize("spilled_side", ["neither", "images", "captions", "both"])
def test_streamed_scores_are_those_of_the_matrix(name, spilled_side, gallery, tmp_path):
    torch.manual_seed(0)
    scorer = SCORERS[name]().eval()
    with torch.no_grad():
        images, texts = scorer.prepare_images(gallery[0]), scorer.prepare_texts(gallery[1])
    expected = similarity_matrix(scorer, images, texts)
    left = in_file(images) if spilled_side in ("images", "both") else images
    right = in_file(texts, batch=7) if spilled_side in ("captions", "both") else texts
    streamed = StreamedScores(scorer, left, right, memory_budget=600_000)
    assert torch.equal(streamed.matrix(), expected)
    owner = np.arange(90) % 40
    assert retrieval_metrics(streamed, owner) == retrieval_metrics(expected, owner)
    np.testing.assert_array_equal(streamed.saved(tmp_path / "scores.npy"), expected.numpy())


class Drifting(MeanDot):
    """Rounds otherwise in each call, as another kernel might."""

    calls = 0

    def score(self, images, texts):
        self.calls += 1
        return super().score(images, texts) + 1e-3 * self.calls


def test_a_positive_has_one_score_however_kernels_round(gallery):
    images, texts = gallery
    streamed = StreamedScores(Drifting().eval(), images, texts)
    owner = np.arange(90) % 40
    pairs = streamed.of_pairs(owner, np.arange(90))
    seen = np.full((40, 90), np.nan)
    for tile in streamed.tiles():
        seen[tile.images[:, None], tile.captions] = tile.scores
    assert not np.isnan(seen).any()
    np.testing.assert_array_equal(seen[owner, np.arange(90)], pairs)
    # equal captions 0 and 84 of one image tie, though only one of them is its positive
    np.testing.assert_array_equal(seen[:, 84], seen[:, 0])


def test_pairs_that_are_known_are_not_scored_again(gallery):
    scorer = Drifting().eval()
    streamed = StreamedScores(scorer, *gallery)
    first = streamed.of_pairs(np.array([0, 3]), np.array([5, 1]))
    calls = scorer.calls
    again = streamed.of_pairs(np.array([3, 0]), np.array([1, 5]))
    assert scorer.calls == calls
    np.testing.assert_array_equal(first[::-1], again)
    more = streamed.of_pairs(np.array([3, 9]), np.array([1, 2]))
    assert (scorer.calls > calls, more[0]) == (True, first[1])


class Broken(MeanDot):
    def score(self, images, texts):
        return super().score(images, texts).fill_(float("nan"))


def test_scores_that_are_not_finite_are_refused(gallery):
    streamed = StreamedScores(Broken().eval(), *gallery)
    with pytest.raises(InvalidSimilarity, match="similarity holds nan at image 0, caption 0"):
        retrieval_metrics(streamed, np.arange(90) % 40)
    with pytest.raises(InvalidSimilarity, match=r"Broken.score returned nan for image \d+ and caption \d+"):
        streamed.matrix()


@pytest.mark.parametrize(
    ("images", "texts", "message"),
    [(fragments(0, 2, 0), fragments(3, 2, 0), "no images"), (fragments(3, 2, 0), fragments(3, 2, 0, 4), "one width")],
)
def test_sides_that_cannot_be_scored_are_refused(images, texts, message):
    with pytest.raises(InvalidFragments, match=message):
        StreamedScores(create("chan"), images, texts)


@pytest.mark.parametrize(
    ("setting", "fits", "streamed"), [("auto", True, False), ("auto", False, True), (True, True, True), (False, False, False)]
)  # fmt: skip
def test_when_scores_are_streamed(setting, fits, streamed, gallery, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(streaming, "fits", lambda *_: fits)
    found = scores_of(create("chan").eval(), *gallery, setting)
    assert isinstance(found, StreamedScores) == streamed
    lines = [record.message for record in caplog.records if "tile by tile" in record.message]
    assert len(lines) == streamed
    assert not lines or ("as asked for" if setting is True else "the matrix does not fit in memory") in lines[0]


def test_a_side_in_a_file_gives_back_what_was_put_there():
    side = fragments(23, 4, 3)
    side = Fragments(
        side.features.bfloat16(),
        side.mask,
        {"gates": torch.rand(23, 4), "rows": torch.arange(23), "two": torch.rand(23, 2, 3) > 0.5},
    )
    kept = in_file(side)
    found = kept.items(slice(0, 23))
    for name, tensor in {"features": side.features, "mask": side.mask, **side.extras}.items():
        got = {"features": found.features, "mask": found.mask, **found.extras}[name]
        assert (got.dtype, torch.equal(got, tensor)) == (tensor.dtype, True), name
    parts = [kept.read(part) for part in kept.parts(1)]
    assert sum(map(len, parts)) == kept.kept == 23
    assert [kept.items(slice(5, 6)).extras["rows"].item(), len(kept.items(slice(3, 9)))] == [5, 6]


@pytest.mark.parametrize("budget", [1, 3000, 20_000, 10**9])
def test_parts_cover_all_items_within_the_budget(budget):
    """Captions of rising length: parts of short ones hold more of them; none is so small that its size shows."""
    keeping = Keeping("items", 0)
    for length, count in [(1, 50), (2, 30), (5, 9), (9, 40)]:
        keeping.add(Fragments(torch.zeros(count, length, 8), torch.ones(count, length, dtype=torch.bool)), 1.0)
    side = keeping.finish(torch.arange(129))
    parts = list(side.parts(budget))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(129))
    sizes = [part.stop - part.start for part in parts]
    assert min(sizes) >= 16
    for part, size in zip(parts, sizes, strict=True):
        read = side.read(part)
        bytes_read = read.features.nbytes + read.mask.nbytes
        assert bytes_read <= budget or size < 2 * 16
    assert len(parts) == {1: 8, 3000: 5, 20_000: 2, 10**9: 1}[budget]


def test_a_side_that_fits_nowhere_is_refused(monkeypatch):
    monkeypatch.setattr(spilled.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(ItmError, match=r"the encoded items take about 0.0 GiB.*set TMPDIR to a folder on another disk"):
        in_file(fragments(4, 2, 0))


def test_scores_that_the_disk_does_not_hold_are_refused_whole(gallery, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.records.scores.os.posix_fallocate", full)
    with pytest.raises(ResultsNotWritable, match="No space left on device"):
        StreamedScores(create("chan").eval(), *gallery).saved(tmp_path / "scores.npy")
    assert not list(tmp_path.iterdir())


def test_encoded_sides_are_those_of_encode_split(tiny):
    from harness.runs.building import build_scorer, open_dataset
    from harness.runs.planning import plan

    (spec,) = plan(load_experiment({**tiny, "training": {"epochs": 0}}))
    dataset = open_dataset(spec.dataset)
    split, scorer = dataset.split("test"), build_scorer(spec, dataset).eval()
    for whole, kept in zip(encode_split(scorer, split, 7), encode_sides(scorer, split, 7, limit=1), strict=True):
        assert not isinstance(kept, Fragments)
        read = kept.items(slice(0, len(whole)))
        assert torch.equal(read.features, whole.trimmed().features[:, : read.features.shape[1]])
        assert torch.equal(read.lengths, whole.lengths)


def test_a_streamed_run_has_the_numbers_and_the_id_of_any_other(tiny, tmp_path, monkeypatch, caplog):
    evaluation = {**tiny["evaluation"], "save_scores": True, "diagnostics": True}
    tiny |= {"protocols": ["full", "scenes_relevance"], "training": {"epochs": 1}, "scorers": ["grm"]}

    def run(name: str, **more) -> tuple[RunRecord, dict[str, bytes]]:
        store = RunStore(tmp_path / name)
        (record,) = run_experiment(load_experiment({**tiny, "evaluation": {**evaluation, **more}}), store).records
        assert not record.error, record.error
        folder = store.folder(record.run_id)
        arrays = np.load(folder / "ranks.npz", allow_pickle=False)
        scores = np.load(folder / "scores.npy") if (folder / "scores.npy").is_file() else np.zeros(0)
        more = {"scores": scores.tobytes(), "top": (folder / "top.npz").read_bytes()}
        return record, more | {key: arrays[key].tobytes() for key in arrays.files}

    whole, files = run("matrix")
    monkeypatch.setattr(spilled, "free_memory", lambda: 0)  # nothing fits: both sides lie in files
    caplog.set_level("INFO")
    streamed, same = run("streamed", streaming=True)
    counted, without = run("counted", streaming=True, save_scores=False)
    assert any("first" in record.message and "costs are measured" in record.message for record in caplog.records)
    assert whole.run_id == streamed.run_id == counted.run_id
    assert whole.metrics == streamed.metrics == counted.metrics
    assert whole.validation == streamed.validation
    assert whole.diagnostics == streamed.diagnostics == counted.diagnostics
    assert whole.diagnostics.levels
    assert files == same
    assert without | {"scores": files["scores"]} == files


MEMORY = """
import resource
import numpy as np, torch
from harness.fragments import Fragments
from harness.metrics import retrieval_metrics
from harness.outputs.embeddings import InnerProduct
from harness.scoring import StreamedScores
from harness.scoring.spilled import Keeping

torch.set_num_threads(1)
IMAGES, CAPTIONS, WIDTH, BUDGET = 2000, 40_000, 256, 16 * 2**20
random = torch.Generator().manual_seed(0)

def side(items):
    keeping = Keeping("items", BUDGET // 8)
    for start in range(0, items, 500):
        keeping.add(Fragments(torch.randn(500, 1, WIDTH, generator=random), torch.ones(500, 1, dtype=torch.bool)), 1.0)
    return keeping.finish(torch.arange(items))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

small = Fragments(torch.randn(600, 1, WIDTH), torch.ones(600, 1, dtype=torch.bool))
retrieval_metrics(StreamedScores(InnerProduct(), small, small, memory_budget=BUDGET), np.arange(600))
before = peak()
scores = StreamedScores(InnerProduct(), side(IMAGES), side(CAPTIONS), memory_budget=BUDGET)
found = retrieval_metrics(scores, np.arange(CAPTIONS) % IMAGES)
print(peak() - before, BUDGET, 4 * IMAGES * CAPTIONS, 4 * WIDTH * CAPTIONS, found["tie_rate"])
"""


def test_the_budget_bounds_the_memory():
    """Peak of a process: neither the matrix (320 MB) nor the fragments (43 MB) are held."""
    pytest.importorskip("resource")
    told = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout.split()
    grown, budget, matrix, texts = (int(value) for value in told[:4])
    assert matrix > 15 * budget
    assert texts > budget
    assert grown < 2 * budget
