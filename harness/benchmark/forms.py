"""Forms: what solves a scoring problem, ours, the limit of the machine, and the peers that are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from harness.benchmark.data import Size
from harness.fragments import Fragments
from harness.registry import create
from harness.scoring import similarity_matrix
from harness.scoring.packed import TILES
from harness.similarity import settings
from harness.similarity.packed import products
from harness.similarity.packed.layout import group, pack
from harness.similarity.packed.scores import TileSize

#: From the inputs to the call that is timed; what it does before is not timed.
Form = Callable[[Fragments, Fragments], Callable[[], Any]]
Score = Callable[[Fragments, Fragments], Tensor]
#: Extent of the bare product's tiles on a GPU, in fragments.
GPU_TILE = TileSize(16384, 65536)


def engine(name: str, dtype: torch.dtype | None = None, **config: Any) -> Form:
    """Our engine on a registered scorer."""

    def prepare(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
        scorer = _scorer(name, config).to(images.device)
        images, texts = scorer.prepare_images(images), scorer.prepare_texts(texts)
        return lambda: similarity_matrix(scorer, images, texts, dtype=dtype, device=images.device)

    return prepare


def own_score(name: str, **config: Any) -> Form:
    """One call of a registered scorer's own `score`, without the engine; the reference of its packed form."""

    def prepare(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
        scorer = _scorer(name, config)
        images, texts = scorer.prepare_images(images), scorer.prepare_texts(texts)
        return lambda: scorer.score(images, texts)

    return prepare


def _scorer(name: str, config: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return create(name, **config).eval()


def function(score: Score) -> Form:
    """A function of the fragments."""
    return lambda images, texts: lambda: score(images, texts)


def unfused(form: Form) -> Form:
    """A form without the kernels of our own on a GPU."""

    def prepare(images: Fragments, texts: Fragments) -> Callable[[], Any]:
        call = form(images, texts)

        def run() -> Any:
            with settings.using(fused=False):
                return call()

        return run

    return prepare


def product(backend: str | None = None) -> Form:
    """Nothing but the packed matrix product in the engine's tiles, by one backend or the rule's: the limit."""

    def prepare(images: Fragments, texts: Fragments) -> Callable[[], None]:
        if images.device.type == "cpu":
            tile = TILES["cpu"]
            lefts = [items.rows() for items in group(pack(images, torch.arange(len(images))), tile.rows)]
        else:
            tile = GPU_TILE
            lefts = list(images.features.flatten(0, 1).split(tile.rows))
        every = torch.arange(len(texts), device=texts.device)
        words = [items.columns() for items in group(pack(texts, every), tile.columns)]
        reorder = products.BACKENDS[backend] if backend else products.prepare

        def run() -> None:
            for right in words:
                multiply = reorder(right, len(lefts[0]))
                for left in lefts:
                    multiply(left)

        return run

    return prepare


def training_step(score: Score) -> Form:
    """A training step, which returns the gradient of the captions."""

    def prepare(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
        sides = with_gradients(images, texts)

        def run() -> Tensor:
            with torch.enable_grad():
                training_loss(score, *sides)
            gradient = sides[1].features.grad
            for side in sides:
                side.features.grad = None
            assert gradient is not None
            return gradient

        return run

    return prepare


def with_gradients(*sides: Fragments) -> list[Fragments]:
    """Copies of the sides that collect gradients."""
    return [Fragments(side.features.clone().requires_grad_(), side.mask) for side in sides]


def training_loss(score: Score, images: Fragments, texts: Fragments) -> Tensor:
    """Forward and backward of a contrastive loss whose positives are the diagonal; the loss."""
    scores = score(images, texts)
    loss = torch.logsumexp(scores, 1).sum() - scores.diagonal().sum()
    loss.backward()
    return loss.detach()


def maxsim_cpu(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
    """The package maxsim-cpu, one caption per query; it returns sums over words."""
    from maxsim_cpu import maxsim_scores

    documents = images.features.numpy()
    queries = [features[mask].numpy() for features, mask in zip(texts.features, texts.mask, strict=True)]
    return lambda: torch.stack([torch.from_numpy(maxsim_scores(query, documents)) / len(query) for query in queries], 1)


def flash_maxsim(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
    """The package flash-maxsim, captions padded; it returns sums over words."""
    from flash_maxsim import flash_maxsim_batched

    lengths = texts.lengths
    queries = lengths.int()
    return lambda: (flash_maxsim_batched(texts.features, images.features, query_lengths=queries) / lengths[:, None]).T


def late_interaction_kernels(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
    """The package late-interaction-kernels, both sides packed; it returns sums over words."""
    from late_interaction_kernels import maxsim_varlen

    words, rows, lengths = texts.features[texts.mask], images.features[images.mask], texts.lengths
    ends = [torch.cat([n.new_zeros(1), n.cumsum(0)]).int() for n in (lengths, images.lengths)]
    longest = int(lengths.max()), int(images.lengths.max())
    return lambda: (maxsim_varlen(words, rows, *ends, *longest) / lengths[:, None]).T


#: Packages that compute max-sim, by device type: name -> (module, form, the widest vectors that it is compared on).
#: Of wider vectors the published wheel of maxsim-cpu returns wrong scores (errors of 0.1), fifty times as slowly, or crashes.
PEERS: dict[str, dict[str, tuple[str, Form, int]]] = {
    "cpu": {"maxsim-cpu": ("maxsim_cpu", maxsim_cpu, 256)},
    "cuda": {
        "flash-maxsim": ("flash_maxsim", flash_maxsim, 128),
        "late-interaction-kernels": ("late_interaction_kernels", late_interaction_kernels, 128),
    },
}


def peers(device: str, size: Size) -> dict[str, Form]:
    """The installed packages that can solve a problem of this size."""
    return {
        name: form
        for name, (module, form, widest) in PEERS[device].items()
        if size.width <= widest and importlib.util.find_spec(module)
    }
