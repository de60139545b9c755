"""The comparison on a GPU: COCO 5K in half precision, everything in the GPU's memory from the start."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harness.benchmark import naive
from harness.benchmark.cases import LIMIT, OURS, UNFUSED, Case, Form, Goal, scorer_form
from harness.benchmark.data import Size
from harness.fragments import Fragments
from harness.registry import create
from harness.similarity import settings
from harness.similarity.packed import products
from harness.similarity.packed.layout import group, pack

COCO_5K = Size(5000, 25000, 36, 1024)
PATCHES = Size(5000, 25000, 197, 512)
#: Extent of the bare product's tiles, in fragments.
ROWS, COLUMNS = 16384, 65536


def product_form(images: Fragments, texts: Fragments) -> Callable[[], None]:
    """Nothing but the packed matrix product in large tiles: the limit."""
    rows = images.features.flatten(0, 1).split(ROWS)
    right = [items.columns() for items in group(pack(texts, torch.arange(len(texts), device=texts.device)), COLUMNS)]

    def run() -> None:
        for columns in right:
            product = products.prepare(columns, ROWS)
            for left in rows:
                product(left)

    return run


def unfused(form: Form) -> Form:
    """The same with the usual library's products."""

    def prepare(images: Fragments, texts: Fragments) -> Callable[[], Any]:
        call = form(images, texts)

        def run() -> Any:
            with settings.using(fused=False):
                return call()

        return run

    return prepare


def flash_maxsim_form(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
    """The package flash-maxsim, captions padded; it returns sums over words."""
    from flash_maxsim import flash_maxsim_batched

    lengths = texts.lengths

    def run() -> Tensor:
        sums = flash_maxsim_batched(texts.features, images.features, query_lengths=lengths.int())
        return (sums / lengths[:, None]).T

    return run


def late_interaction_kernels_form(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
    """The package late-interaction-kernels, both sides packed; it returns sums over words."""
    from late_interaction_kernels import maxsim_varlen

    words, rows, lengths = texts.features[texts.mask], images.features[images.mask], texts.lengths
    ends = [torch.cat([n.new_zeros(1), n.cumsum(0)]).int() for n in (lengths, images.lengths)]
    longest = int(lengths.max()), int(images.lengths.max())

    def run() -> Tensor:
        return (maxsim_varlen(words, rows, *ends, *longest) / lengths[:, None]).T

    return run


PEERS: dict[str, tuple[str, Form]] = {
    "flash-maxsim": ("flash_maxsim", flash_maxsim_form),
    "late-interaction-kernels": ("late_interaction_kernels", late_interaction_kernels_form),
}


def _peers() -> dict[str, Form]:
    return {name: form for name, (module, form) in PEERS.items() if importlib.util.find_spec(module)}


def max_sim_case(size: Size) -> Case:
    """Max-sim t2i with mean (CHAN's VHA)."""
    ours = scorer_form("chan", pooling="mean")
    return Case(
        "max-sim",
        size,
        {
            LIMIT: product_form,
            OURS: ours,
            "ours, lse": scorer_form("chan"),
            "ours, float32": scorer_form("chan", torch.float32, pooling="mean"),
            UNFUSED: unfused(ours),
        },
        (Goal(OURS, LIMIT, at_most=1.29), Goal(UNFUSED, LIMIT, at_most=1.44)),
        slow=frozenset({"ours, float32"}),
        another_score=frozenset({"ours, lse"}),
        device="cuda",
        dtype=torch.float16,
    )


def peers_case() -> Case:
    """Max-sim at the width that the peers are made for."""
    ours = scorer_form("chan", pooling="mean")
    return Case(
        "max-sim, peers",
        Size(1000, 5000, 36, 128),
        {LIMIT: product_form, OURS: ours, UNFUSED: unfused(ours), **_peers()},
        tuple(Goal(name, OURS, at_least=1.0) for name in PEERS),
        device="cuda",
        dtype=torch.float16,
    )


def scan_case(direction: str) -> Case:
    """SCAN with LSE."""
    ours = scorer_form("scan", direction=direction)
    return Case(
        f"SCAN {direction}",
        COCO_5K,
        {LIMIT: product_form, OURS: ours, UNFUSED: unfused(ours)},
        (Goal(OURS, LIMIT, at_most=1.52), Goal(UNFUSED, LIMIT, at_most=2.27)),
        slow=frozenset({UNFUSED}),
        device="cuda",
        dtype=torch.float16,
    )


def grm_case() -> Case:
    """GRM's three levels against max-sim on the same tokens."""
    size = replace(PATCHES, images=1000, texts=5000)
    forms = {LIMIT: product_form, "max-sim": scorer_form("chan", pooling="mean"), OURS: scorer_form("grm")}
    return Case(
        "GRM",
        size,
        forms,
        (Goal(OURS, "max-sim", at_most=1.3),),
        another_score=frozenset({"max-sim"}),
        device="cuda",
        dtype=torch.float16,
    )


def all_cases() -> list[Case]:
    """Scoring on a GPU."""
    return [
        max_sim_case(COCO_5K),
        scan_case("t2i"),
        scan_case("i2t"),
        grm_case(),
        peers_case(),
        max_sim_case(PATCHES),
    ]


def quick_cases() -> list[Case]:
    """The same on a hundredth of the pairs."""
    return [
        replace(case, size=replace(case.size, images=case.size.images // 10, texts=case.size.texts // 10), seconds=3.0)
        for case in all_cases()
    ]


def training_case(size: Size) -> Case:
    """Forward and backward of a batch of max-sim, whose diagonal is the positives."""

    def step(score: Callable[[Fragments, Fragments], Tensor]) -> Form:
        def prepare(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
            sides = [Fragments(side.features.clone().requires_grad_(), side.mask) for side in (images, texts)]

            def run() -> Tensor:
                with torch.enable_grad():
                    scores = score(*sides)
                    (torch.logsumexp(scores, 1).sum() - scores.diagonal().sum()).backward()
                gradient = sides[1].features.grad
                for side in sides:
                    side.features.grad = None
                assert gradient is not None
                return gradient

            return run

        return prepare

    ours = step(create("chan", pooling="mean").score)
    return Case(
        "max-sim, training",
        size,
        {OURS: ours, UNFUSED: unfused(ours), "authors": step(naive.chan)},
        (Goal("authors", OURS, at_least=1.0),),
        device="cuda",
        dtype=torch.float16,
    )


def training_cases() -> list[Case]:
    """Batches that the authors' form still fits."""
    return [training_case(Size(512, 512, 36, 1024)), training_case(Size(512, 512, 197, 512))]
