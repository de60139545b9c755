"""Made-up outcomes beside made-up runs: as probes write them, with scores that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.records.outcomes import About, Measure, OutcomeTable
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.spec import sha256_json

PICTURES = 60
CAPTIONS = 3


def write(
    store: RunStore,
    run_id: str,
    probe: str,
    measures: Sequence[Measure],
    *,
    levels: Sequence[str] = ("all",),
    values: Sequence[float] | None = None,
    inputs: Mapping[str, Any] | None = None,
    **about: Any,
) -> None:
    """Write the outcomes of `family/name`."""
    family, _, name = probe.partition("/")
    stated = {"data": "a" * 64} | dict(inputs or {})
    store.write_outcomes(
        OutcomeTable(
            About(
                run_id=run_id, family=family, name=name, title=name.replace("_", " "), levels=tuple(levels),
                values=tuple(map(float, range(len(levels)) if values is None else values)), inputs=stated,
                inputs_sha256=sha256_json(stated), model_sha256="b" * 64, **about,
            ),
            tuple(measures),
        )
    )  # fmt: skip


def record(store: RunStore, scorer: str, seed: int, **changes: Any) -> RunRecord:
    """A finished run, as far as the report of its outcomes looks at it."""
    made = RunRecord(
        **{
            "run_id": f"{sha256_json([scorer, seed, changes])[:16]}", "scorer": scorer, "backbone": "patches+words",
            "dataset": "scenes", "protocols": ("full",), "seed": seed, "metrics": {"full": {"rsum": 300.0}},
            "data_sha256": "a" * 64, "spec": {"scorer": scorer, "seed": seed}, "status": "finished",
            "started": "2026-01-01T00:00:00+00:00", **changes,
        }
    )  # fmt: skip
    store.write(made)
    return made


def draw_of(*parts: Any) -> np.random.Generator:
    """A generator that depends on its parts alone."""
    return np.random.default_rng([*"/".join(map(str, parts)).encode()])


def ranks(skills: Sequence[float], *seed: Any, pictures: int = PICTURES) -> list[Measure]:
    """Ranks in both directions; `skills` is the chance of rank 0 at each level, pictures differ in how hard they are."""
    draw = draw_of(*seed)
    owner = np.repeat(np.arange(pictures), CAPTIONS)
    images = np.array([f"p{n:03}" for n in range(pictures)])
    captions = np.array([f"p{n:03}-{k}" for n in range(pictures) for k in range(CAPTIONS)])
    hard = np.random.default_rng(99).uniform(0.6, 1.4, pictures)
    found = []
    for name, item, of in (("i2t_rank", images, np.arange(pictures)), ("t2i_rank", captions, owner)):
        chance, other = draw.random(len(of)), draw.integers(1, 25, len(of))
        rows = [np.where(chance * hard[of] < skill, 0, other) for skill in skills]
        found.append(Measure(name, "rank", item, images[of], np.array(rows, dtype=float)))
    return found


def hits(name: str, chance: float, *seed: Any, pictures: int = PICTURES, items: int = 2, unit: Any = "hit") -> Measure:
    """One level of hits (or of shares) with a mean near `chance`."""
    draw = draw_of(*seed)
    images = np.array([f"p{n:03}" for n in range(pictures)])
    item = np.array([f"{image}-{k}" for image in images for k in range(items)])
    values = draw.random(len(item)) < chance if unit == "hit" else np.clip(draw.normal(chance, 0.1, len(item)), 0, 1)
    return Measure(name, unit, item, np.repeat(images, items), np.asarray(values, dtype=float)[None])


def perturb(store: RunStore, run_id: str, who: tuple[str, int], skill: float, pictures: int = PICTURES) -> None:
    """Outcomes of perturbed pictures, captions and regions."""
    size: dict[str, Any] = {"pictures": pictures}
    counts = {"counts": {"images": pictures, "captions": pictures * CAPTIONS}}
    severities = ["clean", "1", "2", "3", "4", "5"]
    for probe, loss in (
        ("images/noise", 0.08), ("images/blur", 0.14), ("images/jpeg", 0.03), ("captions/typos", 0.1),
        ("captions/swapped_words", 0.02), ("captions/wrong_attribute", 0.05), ("regions/dropped", 0.09),
    ):  # fmt: skip
        skills = [skill * (1 - loss * n * (1.4 - skill)) for n in range(6)]
        write(store, run_id, probe, ranks(skills, probe, *who, **size), levels=severities, axis="severity", **counts)


def confuse(store: RunStore, run_id: str, who: tuple[str, int], skill: float, pictures: int = PICTURES) -> None:
    """Outcomes of composition."""
    size: dict[str, Any] = {"pictures": pictures}
    for kind, chance in (("swap_attribute", 0.5 + skill / 3), ("swap_object", 0.5 + skill / 2), ("count", 0.5)):
        correct = hits("correct", chance, kind, *who, **size)
        write(store, run_id, f"composition/scenes-{kind}", [correct], inputs={"chance": {"correct": 0.5}})


def fill(store: RunStore, run_id: str, method: str, seed: int, skill: float, pictures: int = PICTURES) -> None:
    """Outcomes of all families: a better method finds more, and loses less."""
    who = (method, seed)
    size: dict[str, Any] = {"pictures": pictures}
    perturb(store, run_id, who, skill, pictures)
    confuse(store, run_id, who, skill, pictures)
    objects = (2, 4, 6, 8, 10, 12)
    skills = [skill * (1 - 0.05 * n * (1.6 - skill)) for n in range(6)]
    named = [f"{n} objects" for n in objects]
    write(
        store, run_id, "clutter/objects", ranks(skills, "o", *who, **size), levels=named, values=objects, axis="objects"
    )
    skills = [skill, 0.9 * skill, 0.7 * skill]
    named = ["none", "some", "much"]
    write(store, run_id, "clutter/overlap", ranks(skills, "v", *who, **size), levels=named, axis="overlap")
    strata = _strata(ranks([skill] * 3, "s", *who, **size))
    write(store, run_id, "strata/objects", strata, levels=["few", "some", "many"], axis="objects")
    if method != "clip":
        pointing = hits("pointing", 0.2 + skill / 2, "g", *who, **size)
        others = [
            hits(f"{name}_{base}" if base else name, at, name, *((base,) if base else who), unit=unit, **size)
            for name, at, unit in (("inside", 0.15 + skill / 3, "share"), ("rank_correlation", 0.4 * skill, "value"))
            for base in ("", "uniform", "random")
            if not base or name == "inside"
        ]
        even = [hits(f"pointing_{base}", 0.2, base, unit="share", **size) for base in ("uniform", "random")]
        write(store, run_id, "grounding/scenes", [pointing, *others, *even])
    else:
        write(store, run_id, "grounding/scenes", [], refused="clip aligns nothing: it has no map of words over regions")


def _strata(measures: Sequence[Measure]) -> list[Measure]:
    """Every picture in one of the levels."""
    found = []
    for one in measures:
        stratum = np.array([int(image[1:]) % len(one.values) for image in one.image])
        inside = stratum == np.arange(len(one.values))[:, None]
        found.append(Measure(one.name, one.unit, one.item, one.image, np.where(inside, one.values, np.nan)))
    return found
