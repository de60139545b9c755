"""What is compared: scoring problems, the forms that solve them, and the goals for the ratios, as data."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from harness.benchmark import naive
from harness.benchmark.data import Size
from harness.fragments import Fragments
from harness.registry import create
from harness.scoring import similarity_matrix
from harness.scoring.packed import TILES
from harness.similarity.packed import products
from harness.similarity.packed.layout import group, pack

#: From the inputs to the call that is timed; what it does before is not timed.
Form = Callable[[Fragments, Fragments], Callable[[], Any]]
LIMIT = "packed product"
OURS = "ours"
PLAIN = "plain score"
UNFUSED = "ours, unfused"
#: What the errors of the other forms are taken against, the first that a case has.
REFERENCES = ("authors", PLAIN, UNFUSED)
#: Of wider vectors the published wheel returns wrong scores (errors of 0.1), fifty times as slowly, or crashes.
WIDEST_MAXSIM_CPU = 256
#: Forms that are content with one sample: many times the time of the others, at goals of whole factors.
SLOW = frozenset({"authors", "torch padded", "maxsim-cpu"})


@dataclass(frozen=True)
class Goal:
    """A bound on the ratio of two forms' medians."""

    form: str
    over: str
    at_most: float | None = None
    at_least: float | None = None

    def met(self, ratio: float) -> bool:
        return (self.at_most is None or ratio <= self.at_most) and (self.at_least is None or ratio >= self.at_least)

    def __str__(self) -> str:
        return f"<= {self.at_most}" if self.at_most is not None else f">= {self.at_least}"


@dataclass(frozen=True)
class Case:
    """One scorer on one scoring problem."""

    name: str
    size: Size
    forms: Mapping[str, Form]
    goals: tuple[Goal, ...]
    #: Wanted samples; the forms in `slow` are content with one.
    samples: int = 7
    slow: frozenset[str] = SLOW
    #: Forms that compute another score than the reference, whose difference from it would say nothing.
    another_score: frozenset[str] = frozenset()
    #: Where the sides are, and of which type.
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    #: After so long no further round of samples is begun; see `measure.interleave`.
    seconds: float = 30.0


def scorer_form(name: str, dtype: torch.dtype | None = None, **config: Any) -> Form:
    """Our engine on a registered scorer."""

    def prepare(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
        torch.manual_seed(0)
        scorer = create(name, **config).eval().to(images.device)
        with torch.no_grad():
            images, texts = scorer.prepare_images(images), scorer.prepare_texts(texts)
        return lambda: similarity_matrix(scorer, images, texts, dtype=dtype, device=images.device)

    return prepare


def plain_scorer_form(name: str, **config: Any) -> Form:
    """One call of a registered scorer's own `score`, without the engine; the reference of its packed form."""

    def prepare(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
        torch.manual_seed(0)
        scorer = create(name, **config).eval()
        with torch.no_grad():
            images, texts = scorer.prepare_images(images), scorer.prepare_texts(texts)
        return lambda: scorer.score(images, texts)

    return prepare


def product_form(backend: str) -> Form:
    """Nothing but the packed matrix product, in the engine's tiles, by one backend: the limit."""

    def prepare(images: Fragments, texts: Fragments) -> Callable[[], None]:
        tile = TILES["cpu"]
        lefts = [items.rows() for items in group(pack(images, torch.arange(len(images))), tile.rows)]
        words = [items.columns() for items in group(pack(texts, torch.arange(len(texts))), tile.columns)]

        def run() -> None:
            for right in words:
                product = products.BACKENDS[backend](right, len(lefts[0]))
                for left in lefts:
                    product(left)

        return run

    return prepare


def plain_form(function: Callable[[Fragments, Fragments], Tensor]) -> Form:
    """A function of the fragments."""
    return lambda images, texts: lambda: function(images, texts)


def maxsim_cpu_form(images: Fragments, texts: Fragments) -> Callable[[], Tensor]:
    """The package maxsim-cpu, one caption a query; it returns sums over words."""
    import maxsim_cpu

    documents = images.features.numpy()
    queries = [features[mask].numpy() for features, mask in zip(texts.features, texts.mask, strict=True)]

    def run() -> Tensor:
        scores = [torch.from_numpy(maxsim_cpu.maxsim_scores(query, documents)) / len(query) for query in queries]
        return torch.stack(scores, 1)

    return run


def _limits() -> dict[str, Form]:
    names = products.CANDIDATES[("cpu", torch.float32)]
    return {f"{LIMIT}: {name}": product_form(name) for name in names}


def _peers(size: Size) -> dict[str, Form]:
    installed = importlib.util.find_spec("maxsim_cpu") and size.width <= WIDEST_MAXSIM_CPU
    return {"maxsim-cpu": maxsim_cpu_form} if installed else {}


def max_sim_case(size: Size, limit: float, authors: float) -> Case:
    """Max-sim t2i with mean (CHAN's VHA)."""
    return Case(
        "max-sim",
        size,
        {
            **_limits(),
            OURS: scorer_form("chan", pooling="mean"),
            "ours, lse": scorer_form("chan", pooling="lse"),
            "ours, bfloat16": scorer_form("chan", torch.bfloat16, pooling="mean"),
            "torch padded": plain_form(naive.padded),
            **_peers(size),
            "authors": plain_form(naive.chan_shards),
        },
        (
            Goal(OURS, LIMIT, at_most=limit),
            Goal("ours, lse", LIMIT, at_most=limit),
            Goal("ours, bfloat16", OURS, at_most=0.6),
            Goal("authors", OURS, at_least=authors),
            Goal("maxsim-cpu", OURS, at_least=4.5),
        ),
        another_score=frozenset({"ours, lse"}),
    )


def scan_case(direction: str, size: Size, limit: float, authors: float) -> Case:
    """SCAN with LSE."""
    form = {"t2i": naive.scan_t2i, "i2t": naive.scan_i2t}[direction]
    return Case(
        f"SCAN {direction}",
        size,
        {**_limits(), OURS: scorer_form("scan", direction=direction), "authors": plain_form(form)},
        (Goal(OURS, LIMIT, at_most=limit), Goal("authors", OURS, at_least=authors)),
    )


def grm_case(size: Size) -> Case:
    """GRM's three levels against max-sim on the same tokens."""
    return Case(
        "GRM",
        size,
        {
            **_limits(),
            "max-sim": scorer_form("chan", pooling="mean"),
            OURS: scorer_form("grm"),
            PLAIN: plain_scorer_form("grm"),
        },
        (Goal(OURS, "max-sim", at_most=1.3),),
        another_score=frozenset({"max-sim"}),
    )


def cases() -> list[Case]:
    """The comparison: sizes with the goal of each ratio to the bare product and to the authors' form."""
    return [
        max_sim_case(Size(256, 1280, 36, 1024), 1.15, 7.5),
        max_sim_case(Size(256, 1280, 36, 256), 1.4, 13.0),
        scan_case("t2i", Size(128, 640, 36, 1024), 1.35, 18.0),
        scan_case("i2t", Size(128, 640, 36, 1024), 1.25, 25.0),
        grm_case(Size(256, 1280, 197, 512)),
        # last: its authors' form takes longer than all others together, and time may run out
        max_sim_case(Size(256, 1280, 197, 512), 1.15, 7.5),
    ]


#: One extent at a time, four times the base's.
GROWTH: tuple[dict[str, int], ...] = ({"images": 512}, {"texts": 2560}, {"regions": 144}, {"width": 1024})


def growth() -> list[Case]:
    """Our time as images, captions, regions and width grow, one at a time."""
    base = Size(128, 640, 36, 256)
    sizes = [base, *(replace(base, **change) for change in GROWTH)]
    forms = {
        "max-sim": scorer_form("chan", pooling="mean"),
        "SCAN t2i": scorer_form("scan"),
        "SCAN i2t": scorer_form("scan", direction="i2t"),
    }
    return [Case("growth", size, forms, (), samples=3, seconds=6.0) for size in sizes]


def quick_cases() -> list[Case]:
    """The comparison on a sixteenth of the pairs, for a look at whether anything broke; the goals hold for full size."""
    return [
        replace(case, size=replace(case.size, images=case.size.images // 4, texts=case.size.texts // 4), seconds=3.0)
        for case in cases()
    ]
