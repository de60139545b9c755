"""Strata of the test split: rSum of the queries that have few or many objects, short or long captions, plain or busy pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.reports.robustness.loading import Answers, ProbeAnswers
from harness.reports.robustness.quantities import Findings, Pictures, Quantity, Role, absences, by_method
from harness.reports.statistics.hits import metric_name

#: Tried in this order: captions alone can be in strata, and images alone.
_METRICS = ("rsum", "t2i_r1", "i2t_r1")
#: Probes whose change is tested first: the claim is about cluttered pictures.
_TELLING = ("objects", "regions", "edge_density")


def findings(family: str, probes: Mapping[str, ProbeAnswers], methods: Sequence[str]) -> Findings:
    """The score in every stratum, all in the gallery of the whole split, and the last stratum minus the first."""
    asked = list(probes.values())
    pictures = Pictures(asked)
    quantities: list[Quantity] = []
    first = next((name for name in _TELLING if name in probes), next(iter(probes)))
    for name, probe in probes.items():
        about = probe.about
        metric = next((m for m in _METRICS if _complete(probe, pictures, m)), None)
        if metric is None:
            continue
        levels = [
            by_method(probe, ((m, pictures.retrieval(own, level, metric)) for m, own in probe.answers.items()))
            for level in range(len(about.levels))
        ]
        unit = metric_name(metric)
        quantities += [
            Quantity(
                f"{family}/{name}/{place}", f"{probe.title}, {about.levels[place]}", unit, scores, probe=name,
                level=about.levels[place], place=about.values[place], low=0.0, high=600.0 if metric == "rsum" else 100.0,
            )
            for place, scores in enumerate(levels)
        ]  # fmt: skip
        if len(levels) > 1:
            change = {method: levels[-1][method] - levels[0][method] for method in levels[0] if method in levels[-1]}
            title = f"{probe.title}: {about.levels[-1]} minus {about.levels[0]}"
            role: Role = "primary" if name == first else "secondary"
            quantities.append(Quantity(f"{family}/{name}/change", title, unit, change, role, probe=name))
    return Findings(family, quantities, len(pictures), asked, absences(asked, methods))


def _complete(probe: ProbeAnswers, pictures: Pictures, metric: str) -> bool:
    """Whether every stratum has the queries of a metric."""
    own: Mapping[str, Answers] = next(iter(probe.answers.values()), {})
    return bool(own) and all(
        pictures.retrieval(own, level, metric) is not None for level in range(len(probe.about.levels))
    )
