"""What is compared: scoring problems, the forms that solve them, and the goals for the ratios, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from harness.benchmark import naive
from harness.benchmark.data import Size
from harness.benchmark.forms import PEERS, Form, engine, function, own_score, peers, product, training_step, unfused
from harness.registry import create
from harness.similarity.compiled.kernels import available
from harness.similarity.packed.products import CANDIDATES

LIMIT, OURS, PLAIN, UNFUSED = "packed product", "ours", "plain score", "ours, unfused"
#: The same as `UNFUSED`, on a CPU.
WITHOUT_NUMBA = "ours, without numba"
#: What the errors of the other forms are taken against, the first that a case has.
REFERENCES = ("authors", PLAIN, UNFUSED)
#: Forms that are content with one sample: many times the time of the others, at goals of whole factors.
SLOW = frozenset({"authors", "torch padded", "maxsim-cpu", "ours, float32"})
#: Forms that compute another score than the reference, whose difference from it would say nothing.
ANOTHER_SCORE = frozenset({"ours, lse", "max-sim"})
COCO_5K, PATCHES = Size(5000, 25000, 36, 1024), Size(5000, 25000, 197, 512)


@dataclass(frozen=True)
class Goal:
    """A bound on the ratio of two forms' medians.

    >>> str(Goal("ours", "packed product", at_most=1.15))
    '<= 1.15'
    """

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
    """One scorer on one scoring problem.

    Args:
        name, size: for the tables.
        forms: what is timed, by name.
        goals: bounds on ratios; of forms that are not installed they are left out.
        slow: forms that are content with one sample.
        samples: wanted of each other form.
        seconds: after so long no further round of samples is begun, see `measure.interleave`.
        device, dtype: where the sides are, and of which type.
    """

    name: str
    size: Size
    forms: Mapping[str, Form]
    goals: tuple[Goal, ...] = ()
    slow: frozenset[str] = SLOW
    samples: int = 7
    seconds: float = 30.0
    device: str = "cpu"
    dtype: torch.dtype = torch.float32


LIMITS = {f"{LIMIT}: {name}": product(name) for name in CANDIDATES[("cpu", torch.float32)]}
#: Max-sim t2i with mean (CHAN's VHA).
MAX_SIM = engine("chan", pooling="mean")


def without_numba(ours: Form) -> dict[str, Form]:
    """A form by torch's own reductions, where compiled ones would be taken."""
    return {WITHOUT_NUMBA: unfused(ours)} if available(torch.device("cpu"), torch.float32) else {}


def max_sim_case(size: Size, limit: float, authors: float) -> Case:
    """Max-sim t2i with mean and with log-sum-exp, on a CPU."""
    forms = {
        **LIMITS,
        OURS: MAX_SIM,
        "ours, lse": engine("chan", pooling="lse"),
        "ours, bfloat16": engine("chan", torch.bfloat16, pooling="mean"),
        "torch padded": function(naive.padded),
        **peers("cpu", size),
        "authors": function(naive.chan_shards),
    }
    goals = (
        Goal(OURS, LIMIT, at_most=limit),
        Goal("ours, lse", LIMIT, at_most=limit),
        Goal("ours, bfloat16", OURS, at_most=0.6),
        Goal("authors", OURS, at_least=authors),
        Goal("maxsim-cpu", OURS, at_least=4.5),
    )
    return Case("max-sim", size, forms, goals)


def scan_case(direction: str, limit: float, authors: float) -> Case:
    """SCAN with log-sum-exp, on a CPU."""
    theirs = {"t2i": naive.scan_t2i, "i2t": naive.scan_i2t}[direction]
    ours = engine("scan", direction=direction)
    forms = {**LIMITS, OURS: ours, **without_numba(ours), "authors": function(theirs)}
    goals = (Goal(OURS, LIMIT, at_most=limit), Goal("authors", OURS, at_least=authors))
    return Case(f"SCAN {direction}", Size(128, 640, 36, 1024), forms, goals)


def grm_case(size: Size) -> Case:
    """GRM's three levels against max-sim on the same tokens, on a CPU."""
    ours = engine("grm")
    forms = {**LIMITS, "max-sim": MAX_SIM, OURS: ours, **without_numba(ours), PLAIN: own_score("grm")}
    return Case("GRM", size, forms, (Goal(OURS, "max-sim", at_most=1.2),))


def gpu_case(name: str, size: Size, ours: Form, *goals: Goal, **more: Form) -> Case:
    """A form, fused and unfused, against the bare product on a GPU, in half precision."""
    forms = {LIMIT: product(), OURS: ours, UNFUSED: unfused(ours), **more}
    return Case(name, size, forms, goals, device="cuda", dtype=torch.float16)


def gpu_max_sim_case(size: Size) -> Case:
    """Max-sim t2i with mean, with log-sum-exp and in float32, on a GPU."""
    more = {"ours, lse": engine("chan"), "ours, float32": engine("chan", torch.float32, pooling="mean")}
    goals = Goal(OURS, LIMIT, at_most=1.29), Goal(UNFUSED, LIMIT, at_most=1.44)
    return gpu_case("max-sim", size, MAX_SIM, *goals, **more)


def gpu_scan_case(direction: str) -> Case:
    """SCAN with log-sum-exp, on a GPU."""
    goals = Goal(OURS, LIMIT, at_most=1.5), Goal(UNFUSED, LIMIT, at_most=2.27)
    case = gpu_case(f"SCAN {direction}", COCO_5K, engine("scan", direction=direction), *goals)
    return replace(case, slow=frozenset({UNFUSED}))


def gpu_grm_case() -> Case:
    """GRM's three levels against max-sim on the same tokens, on a GPU."""
    size, forms = replace(PATCHES, images=1000, texts=5000), {LIMIT: product(), "max-sim": MAX_SIM, OURS: engine("grm")}
    goal = Goal(OURS, "max-sim", at_most=1.4)
    return Case("GRM", size, forms, (goal,), device="cuda", dtype=torch.float16)


def gpu_training_case(size: Size) -> Case:
    """Forward and backward of a batch of max-sim, on a GPU."""
    ours = training_step(create("chan", pooling="mean").score)
    forms = {OURS: ours, UNFUSED: unfused(ours), "authors": training_step(naive.chan)}
    goal = Goal("authors", OURS, at_least=1.0)
    return Case("max-sim, training", size, forms, (goal,), device="cuda", dtype=torch.float16)


def cpu_cases() -> list[Case]:
    """Scoring on a CPU, each with its goals for the ratio to the bare product and to the authors' form."""
    return [
        max_sim_case(Size(256, 1280, 36, 1024), 1.15, 7.5),
        max_sim_case(Size(256, 1280, 36, 256), 1.4, 13.0),
        scan_case("t2i", 1.25, 18.0),
        scan_case("i2t", 1.2, 25.0),
        grm_case(Size(256, 1280, 197, 512)),
        # last: its authors' form takes longer than all others together, and time may run out
        max_sim_case(Size(256, 1280, 197, 512), 1.15, 7.5),
    ]


def gpu_cases() -> list[Case]:
    """Scoring on a GPU: COCO 5K, everything in its memory from the start; the peers at the width that they are made for."""
    narrow = Size(1000, 5000, 36, 128)
    with_peers = (Goal(name, OURS, at_least=1.0) for name in PEERS["cuda"])
    return [
        gpu_max_sim_case(COCO_5K),
        gpu_scan_case("t2i"),
        gpu_scan_case("i2t"),
        gpu_grm_case(),
        gpu_case("max-sim, peers", narrow, MAX_SIM, *with_peers, **peers("cuda", narrow)),
        gpu_max_sim_case(PATCHES),
    ]


#: One extent at a time, four times the base's.
GROWTH: tuple[dict[str, int], ...] = ({"images": 512}, {"texts": 2560}, {"regions": 144}, {"width": 1024})


def growth() -> list[Case]:
    """Our time on a CPU as images, captions, regions and width grow, one at a time."""
    base = Size(128, 640, 36, 256)
    forms = {"max-sim": MAX_SIM, "SCAN t2i": engine("scan"), "SCAN i2t": engine("scan", direction="i2t")}
    sizes = [base, *(replace(base, **change) for change in GROWTH)]
    return [Case("growth", size, forms, samples=3, seconds=6.0) for size in sizes]


def shrunk(cases: Sequence[Case], by: int) -> list[Case]:
    """The same with `by` times fewer images and captions, for a look at whether anything broke; no goal holds there."""
    return [
        replace(case, size=replace(size, images=size.images // by, texts=size.texts // by), seconds=3.0, samples=3)
        for case in cases
        for size in [case.size]
    ]


def scoring_cases(device: str, quick: bool) -> list[Case]:
    """All scoring problems of a device type, in their order."""
    if device == "cpu":
        return shrunk(cpu_cases(), 4) if quick else [*cpu_cases(), *growth()]
    training = [gpu_training_case(Size(512, 512, 36, 1024)), gpu_training_case(Size(512, 512, 197, 512))]
    return shrunk(gpu_cases(), 10) if quick else [*gpu_cases(), *training]
