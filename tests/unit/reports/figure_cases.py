"""Every figure of every report, drawn from realistic and from nasty values: many methods, long names, one point, all level."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.records.description import Bound, CaptionFacts, Description, Repeats, SplitFacts, Spread
from harness.records.profile import Growth, Measure, Point, Profile, ScenarioResult
from harness.records.study import StudySummary, TrialSummary
from harness.reports.ablation.figures import effects_figure
from harness.reports.description.figures import lengths
from harness.reports.document.model import Figure
from harness.reports.leaderboard.figures import board_figure
from harness.reports.profile import figures as profiles
from harness.reports.profile.rows import AXES, Axis, rows_of
from harness.reports.robustness import figures as robustness
from harness.reports.robustness.quantities import Findings, Quantity
from harness.reports.significance import figures as significance
from harness.reports.statistics.outcomes.scores import mean_score
from harness.reports.statistics.ranking import RankedMethod
from harness.reports.statistics.results import Comparison
from harness.reports.sweep import figures as sweeps
from harness.reports.sweep.expected_performance import expected_performance

SEVEN = ("grm", "chan", "scan", "clip", "laps", "late_interaction", "vse_infinity")
LONG = [f"grm.no_original_level+no_salient_level+no_prompting+more{i:04}" for i in range(40)]  # 60 characters
HOSTILE = ['</title><script>alert("1")</script>', "$x_{$", "a & b <c>", "\u202egnp.exe"]
assert all(len(name) == 60 for name in LONG)


def board(names: Sequence[str], rsum: Sequence[float], speed: Sequence[float | None], wide: float = 8.0) -> Any:
    rows = [
        {
            "label": name,
            "origin": "measured",
            "rsum": value,
            "rsum_low": value - wide,
            "rsum_high": value + wide,
            "pairs_per_second": pairs,
            "pairs_per_second_noisy": number % 3 == 2,
        }
        for number, (name, value, pairs) in enumerate(zip(names, rsum, speed, strict=True))
    ]
    gallery = SimpleNamespace(title="flickr8k test, full", slug="flickr8k-test-full")
    return SimpleNamespace(rows=sorted(rows, key=lambda row: -row["rsum"]), gallery=gallery)


def comparison(names: Sequence[str], scores: Sequence[float], margin: float | None = None) -> Comparison:
    """All pairs, by hand: the figures read these fields only."""
    rows = []
    for i, a in enumerate(names):
        for j in range(i + 1, len(names)):
            difference = scores[i] - scores[j]
            p = float(np.exp(-abs(difference) / 4))
            rows.append(
                SimpleNamespace(
                    a=a, b=names[j], metric="rsum", difference=difference, low=difference - 6, high=difference + 6,
                    simultaneous_low=difference - 9, simultaneous_high=difference + 9, p_adjusted=p, significant=p <= 0.05,
                    equivalence=None if margin is None else SimpleNamespace(delta=margin),
                )
            )  # fmt: skip
    made: dict[str, Any] = {
        "methods": tuple(names), "metrics": ("rsum",), "scores": np.array(scores)[:, None], "seeds": (3,) * len(names),
        "claim": "method", "alpha": 0.05, "resamples": 9999, "seed": 0, "images": 1000, "captions": 5000,
        "rows": tuple(rows), "families": (), "notices": (),
    }  # fmt: skip
    return Comparison(**made)


def ranking(made: Comparison) -> list[RankedMethod]:
    scores = made.scores[:, 0]
    return [RankedMethod(made.methods[i], float(scores[i]), n + 1, 1, 9, 1) for n, i in enumerate(np.argsort(-scores))]


def point(name: str, rsum: float, ms: float, kind: str = "base", noisy: bool = False, **settings: Any) -> Point:
    rounds = (ms, 1.5 * ms) if noisy else (ms, 1.01 * ms)

    def query(size: int) -> ScenarioResult:
        time, far = ms * (size / 1000) ** 0.9, size > 10_000
        if far:
            return ScenarioResult(whole=Measure(samples=0, p50=time, extrapolated=True), gallery=size)
        whole = Measure(
            samples=40,
            p50=time,
            p95=1.2 * time,
            minimum=time,
            iqr=0.1,
            low=0.93 * time,
            high=1.07 * time,
            rounds=rounds,
        )
        return ScenarioResult(whole=whole, gallery=size)

    scenarios = {f"query {d} {size}": query(size) for d in ("t2i", "i2t") for size in (1000, 5000, 10_000, 100_000)}
    if kind != "cascade":
        whole = Measure(samples=40, p50=ms, p95=ms, minimum=ms, iqr=0.1, low=0.9 * ms, high=1.1 * ms, rounds=rounds)
        scenarios["score pairs"] = ScenarioResult(whole=whole, items={"pairs": 100_000})
    growth = Growth(exponent=0.9, low=0.85, high=0.95, sizes=(1000, 5000, 10_000))
    return Point(
        key=name, label=name, kind=kind, base=settings.get("fine", name.split(" ")[0]), settings=settings, run_ids=("0" * 16,),
        metrics={"rsum": rsum, "i2t_r1": rsum / 6, "t2i_r1": rsum / 6}, scenarios=scenarios,
        growth={"t2i": growth, "i2t": growth} if kind == "base" else {},
        index_bytes_per_image=1000 * ms, index_bytes_per_text=10, memory_mib=100 + 10 * ms, sizes={},
    )  # fmt: skip


def profile(points: Sequence[Point]) -> Profile:
    return Profile(
        name="made", dataset="flickr8k", split="test", protocol="full", data_sha256="ab" * 32, images=1000, captions=5000,
        seed=0, gallery=1000, galleries=(1000, 5000, 10_000, 100_000), rounds=5, seconds=1.0,
        matrix_gflops={"float32": 100.0}, environment={"processor": "AMD EPYC", "threads": 2, "torch": "2"},
        points=tuple(points), started="2025-01-01T00:00:00+00:00", finished="2025-01-01T00:01:00+00:00",
    )  # fmt: skip


def many_points(names: Sequence[str], step: float = 20.0) -> list[Point]:
    """Each method in four precisions and behind a cascade of five lengths, as a real profile has them."""
    points = [point(name, 300 + step * i, 2.0 * 1.9**i, noisy=i == 1) for i, name in enumerate(names)]
    for i, name in enumerate(names):
        for n, form in enumerate(("bf16", "int8", "1/2 patches", "1/4 patches")):
            rsum = 300 + step * (i - 0.4 * (n + 1))
            points.append(
                point(f"{name} {form}", rsum, 2.0 * 1.9**i * (0.8 - 0.15 * n), kind="precision", noisy=n == 3)
            )
    coarse = names[0]
    for i, name in enumerate(names[1:], 1):
        for n, k in enumerate((10, 20, 50, 100, None)):
            label = f"cascade({coarse}, {name}, {k or 'all'})"
            rsum = 300 + step * i * (0.5 + 0.125 * n)
            points.append(point(label, rsum, 2.2 + 0.5 * n * 1.5**i, "cascade", coarse=coarse, fine=name, k=k))
    return points


def study(paths: Sequence[str], trials: int, level: bool = False) -> StudySummary:
    draw = np.random.default_rng(0)
    space: dict[str, Any] = {}
    for number, path in enumerate(paths):
        space[path] = (
            {"low": 1e-5, "high": 1e-2, "log": True},
            {"choices": ["clipped_l2norm", "l2norm", "softmax", "a_choice_with_a_long_name", None]},
            {"low": 0.0, "high": 1.0},
        )[number % 3]

    def drawn(entry: dict[str, Any]) -> Any:
        if "choices" in entry:
            return entry["choices"][draw.integers(len(entry["choices"]))]
        low, high = entry["low"], entry["high"]
        return float(10 ** draw.uniform(np.log10(low), np.log10(high)) if entry.get("log") else draw.uniform(low, high))

    def trial(number: int) -> TrialSummary:
        state = ("complete", "complete", "pruned", "complete", "failed")[number % 5]
        rsum = 300.0 if level else float(draw.normal(300, 30))
        values = {"rsum": rsum, "query_ms_p50": float(draw.lognormal(2, 1)), "params_millions": 1.0}
        return TrialSummary(
            number=number, state=state, params={path: drawn(space[path]) for path in paths}, rsum=rsum,
            values=values if state == "complete" else {}, violation=float(number % 7 == 3),
        )  # fmt: skip

    made = [trial(number) for number in range(trials)]
    front = sorted((t for t in made if t.counts), key=lambda t: -t.values["rsum"])[:12]
    return StudySummary(
        study="e.chan", experiment="e", key="chan", scorer="chan", dataset="scenes", storage="sqlite:///x",
        directions={"rsum": "maximize", "query_ms_p50": "minimize"}, at_most={"query_ms_p50": 9.0}, sampler={}, pruner={},
        sampler_seed=0, seeds=(0,), space=space, entry={}, trials=made, pareto=[t.number for t in front],
    )  # fmt: skip


def effects(names: Sequence[str], differences: Sequence[float], published: bool = True) -> Any:
    rows = [{"model": "m"}] + [
        {
            "model": name, "rsum_difference": value, "rsum_low": value - 5, "rsum_high": value + 5,
            "p_adjusted": 0.01 if abs(value) > 5 else 0.5, "published_difference": value - 2 if published else None,
        }
        for name, value in zip(names, differences, strict=True)
    ]  # fmt: skip
    gallery = SimpleNamespace(title="flickr8k test, full", dataset="flickr8k", protocol="full")
    return SimpleNamespace(by_loss=rows, gallery=gallery, reference=LONG[0] if names[0] in LONG else "grm")


def description(names: Sequence[str], longest: int) -> Description:
    spread = Spread(number=10, mean=9, smallest=1, median=9, p95=20, largest=longest)
    zero = dict.fromkeys(
        ("repeats", "texts", "shared_texts", "shared_captions", "sharing_images", "repeating_images"), 0
    )
    bound = Bound(**dict.fromkeys(Bound.model_fields, 100.0))
    repeats = Repeats(**zero, bound=bound)
    counts = {words: 1 + int(1000 * np.exp(-((words - longest / 3) ** 2) / longest)) for words in range(1, longest + 1)}
    facts = CaptionFacts(
        number=500, per_image={5: 100}, words=spread, lengths=counts, characters=spread, blank=0, exact=repeats,
        as_words=repeats, vocabulary=40,
    )  # fmt: skip
    splits = [SplitFacts(name=name, images=100, captions=facts) for name in names]
    return Description(title="tiny", layout="karpathy", near_bits=10, splits=splits)


def _profiles(points: Sequence[Point], axes: Sequence[Axis] = AXES[:1]) -> Iterator[Figure | None]:
    made = profile(points)
    rows = rows_of(made, {})
    for row in rows:
        row |= {"rsum_low": row["rsum"] - 7, "rsum_high": row["rsum"] + 7}
    for axis in axes:
        yield profiles.pareto_figure(rows, axis, [made.device])
    yield profiles.scaling_figure(made)
    yield profiles.cascade_figure(rows, made)


def _significance(
    names: Sequence[str], scores: Sequence[float], margin: float | None = None
) -> Iterator[Figure | None]:
    made = comparison(names, scores, margin)
    yield significance.forest(made)
    yield significance.matrix(made)
    yield significance.groups_diagram(made, ranking(made))


def _sweeps(paths: Sequence[str], trials: int, names: Sequence[str], level: bool = False) -> Iterator[Figure | None]:
    made = study(paths, trials, level)
    yield sweeps.history(made)
    yield sweeps.slices(made, paths)
    shares = [{"setting": path, "PED-ANOVA": 0.9 / (n + 1), "fANOVA": 0.8 / (n + 1)} for n, path in enumerate(paths)]
    yield sweeps.importance(shares, ["PED-ANOVA", "fANOVA"])
    yield sweeps.pareto(made, "query_ms_p50")
    draw = np.random.default_rng(0)
    yield sweeps.expected({name: expected_performance(draw.normal(300, 20, max(2, trials))) for name in names})


def _robustness(
    names: Sequence[str], probes: Sequence[str], levels: Sequence[str], axis: str = "severity"
) -> Iterator[Figure | None]:
    """Curves of probes over levels and a bar per probe, falling from method to method and level to level."""
    scores = {
        (name, level): mean_score([[min(1.0, 0.05 * i % 1)] * 20 + [0.9 / (n + 1)] * 20], range(40), 40, points=600)
        for i, name in enumerate(names)
        for n, level in enumerate(levels)
    }
    asked: Any = [SimpleNamespace(about=SimpleNamespace(name=probe, axis=axis), title=probe) for probe in probes]
    quantities = [
        Quantity(
            f"images/{probe}/{n}", f"{probe}, {level}", "rSum", {name: scores[name, level] for name in names}, probe=probe,
            level=level, place=float(n), chance=50.0,
        )
        for probe in probes
        for n, level in enumerate(levels)
    ]  # fmt: skip
    yield robustness.curves(Findings("images", quantities, 40, asked), names, 0.05)
    yield robustness.bars(quantities[:: len(levels)], names, 0.05, "bars", "Percent right", "chance")


def _line(count: int, low: float, high: float) -> list[float]:
    return np.linspace(high, low, count).tolist()


CASES: dict[str, Callable[[], Iterator[Figure | None]]] = {
    "leaderboard of 7": lambda: iter([board_figure(board(SEVEN, _line(7, 300, 430), np.geomspace(1e5, 5e8, 7)))]),
    "leaderboard of 40": lambda: iter([board_figure(board(LONG, _line(40, 300, 301), np.geomspace(1e6, 2e6, 40)))]),
    "leaderboard of 8 long": lambda: iter([board_figure(board(LONG[:8], _line(8, 300, 303), [1e6] * 8))]),
    "leaderboard all level": lambda: iter([board_figure(board(SEVEN, [400.0] * 7, [1e6] * 7, wide=0.0))]),
    "leaderboard untimed": lambda: iter([board_figure(board(HOSTILE, _line(4, 1, 600), [None] * 4))]),
    "significance of 7": lambda: _significance(SEVEN, [430, 425, 400, 396, 395.9, 380, 300], margin=5.0),
    "significance of 30": lambda: _significance(LONG[:30], _line(30, 300, 310)),
    "significance of 10 long": lambda: _significance(LONG[:10], _line(10, 300, 310)),
    "significance of 3 level": lambda: _significance(HOSTILE[:3], [300.0] * 3),
    "significance of 2": lambda: _significance(LONG[:2], [300.0, 200.0], margin=0.5),
    "profile of 7": lambda: _profiles(many_points(SEVEN), AXES),
    "profile of 2": lambda: _profiles(many_points(["clip", HOSTILE[0]])),
    "profile of 8 long": lambda: _profiles(many_points(LONG[:8], step=1.0)),
    "profile of 40": lambda: _profiles([point(name, 300 + n, 1.0 + n) for n, name in enumerate(LONG)]),
    "profile all level": lambda: _profiles([point(name, 300.0, 5.0) for name in SEVEN]),
    "sweep of 3 settings": lambda: _sweeps(["training.learning_rate", "config.pooling", "config.temperature"], 60, ["a", "b"]),
    "sweep of 9 long": lambda: _sweeps([f"{name}.{n}" for n, name in enumerate(LONG[:9])], 40, LONG[:12]),
    "sweep of 2 trials": lambda: _sweeps(["config.a", "config.pooling"], 2, HOSTILE),
    "ablation of 7": lambda: iter([effects_figure(effects(SEVEN, _line(7, -40, 3)), "GRM, Table 2")]),
    "ablation of 40": lambda: iter([effects_figure(effects(LONG, _line(40, -4, 3)), "GRM, Table 2")]),
    "description of 3": lambda: iter([lengths(description(["train", "val", "test"], 40))]),
    "description of 1": lambda: iter([lengths(description([LONG[0]], 3))]),
    "robustness of 4": lambda: _robustness(SEVEN[:4], ["noise", "blur", "low contrast"], list("012345")),
    "robustness of 1 level": lambda: _robustness(SEVEN[:1], ["scenes"], ["all"], ""),
    "robustness of 12 long": lambda: _robustness(LONG[:12], LONG[:7], [f"{n} objects and more" for n in range(4)], ""),
    "robustness of hostile": lambda: _robustness(HOSTILE, HOSTILE, HOSTILE, HOSTILE[1]),
    "description of 12": lambda: iter([lengths(description(LONG[:12], 200))]),
}  # fmt: skip


@functools.cache
def figures_of(case: str) -> list[Figure]:
    """The figures of a case that its builders draw."""
    return [figure for figure in CASES[case]() if figure is not None]
