"""Records that differ only in their seed belong together: the galleries, the groups in each, and their labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.errors import InvalidRecord
from harness.records.run import RunRecord
from harness.reports.runs.evidence import tuning
from harness.settings.values import flatten
from harness.spec import canonical_json, sha256_json

# What a run's spec holds beside its identity: the seed, where things lie, which galleries were looked at, how long the
# clock ran. None of it changes a trained model or a rank.
_NOT_IDENTITY = (
    "seed",
    "protocols",
    "dataset.root",
    "evaluation.batch_size",
    "evaluation.cost_repeats",
    "evaluation.save_scores",
    "evaluation.diagnostics",
    "evaluation.watch_test",
    "evaluation.metrics",
)
_MOST_LABEL_KEYS = 3
_HASH_DIGITS = 8
_SHA256 = re.compile(r"[0-9a-f]{64}")
# How settings are found unless a label says otherwise; an ensemble's label always does.
_USUAL = ("default", "unknown", "mixed", "ensembled", "tuned and ensembled")
# Keys of a spec that labels name first.
_TELLING = ("config.", "image.", "text.", "training.", "evaluation.")


@dataclass(frozen=True, order=True)
class Gallery:
    """What makes numbers comparable: one dataset (by content), split and protocol.

    >>> gallery = Gallery("scenes", "test", "0f3a", "full")
    >>> gallery.title, gallery.slug
    ('scenes test, full', 'scenes-test-full')
    """

    dataset: str
    split: str
    data_sha256: str
    protocol: str
    version: str = ""  # part of the hash where two contents of one dataset are reported together

    @property
    def title(self) -> str:
        """For headings."""
        version = f" (data {self.version})" if self.version else ""
        return f"{self.dataset} {self.split}, {self.protocol}{version}"

    @property
    def slug(self) -> str:
        """For the keys of tables and figures."""
        return "-".join(filter(None, (self.dataset, self.split, self.protocol, self.version)))


@dataclass(frozen=True, eq=False)
class Group:
    """The runs of one method on one gallery, which differ only in their seed."""

    gallery: Gallery
    records: tuple[RunRecord, ...]  # by rising seed
    identity: str  # hash of what they share
    label: str  # short and unique within the gallery
    replaced: tuple[str, ...] = ()  # run ids of repeated seeds that were left out for a later run

    @property
    def first(self) -> RunRecord:
        """The record of the lowest seed, for what all of them share."""
        return self.records[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, rising."""
        return tuple(record.seed for record in self.records)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs, by seed."""
        return tuple(record.run_id for record in self.records)

    @property
    def computed_on(self) -> str:
        """What its runs were computed and timed on; several where the seeds differ."""
        return "; ".join(dict.fromkeys(record.environment.computed_on for record in self.records))

    def metric(self, name: str) -> float | None:
        """Mean over seeds of a metric of the records; None where one lacks it."""
        values = [record.metrics[self.gallery.protocol].get(name) for record in self.records]
        return None if None in values else float(np.mean(np.asarray(values, dtype=np.float64)))

    def cost(self, name: str) -> float | None:
        """Median over seeds of a cost; None where no seed has it."""
        values = [record.cost.figures[name] for record in self.records if name in record.cost.figures]
        return float(np.median(values)) if values else None


def groups(records: Sequence[RunRecord]) -> dict[Gallery, list[Group]]:
    """Group finished records by gallery, and within it by everything but the seed.

    Args:
        records: each run once.

    Returns:
        Galleries in the order first met, groups in that order too, labels unique within a gallery. Where a seed occurs
        twice in a group (the same cell planned with other protocols) the run that started last is kept.
    """
    by_gallery: dict[Gallery, dict[str, list[RunRecord]]] = {}
    for record in records:
        for protocol in record.protocols:
            metrics = record.metrics.get(protocol, {})
            # rSum is what every board and test ranks by; averages are shown all the same, and ranked by nothing
            if "rsum" in metrics or (metrics and not record.has_ranks):
                gallery = Gallery(record.dataset, record.split, record.data_sha256, protocol)
                by_gallery.setdefault(gallery, {}).setdefault(identity(record), []).append(record)
    titles = [gallery.title for gallery in by_gallery]
    return {
        named: _labelled(named, parts)
        for gallery, parts in by_gallery.items()
        for named in [replace(gallery, version=gallery.data_sha256[:8]) if titles.count(gallery.title) > 1 else gallery]
    }


def too_short(records: Iterable[RunRecord]) -> dict[str, str]:
    """The runs whose candidate lists are too short for rSum, which no group holds: name -> how long the lists are."""
    return {
        record.label: ", ".join(f"{way} lists of {depth}" for way, depth in sorted(record.source.depths.items()))
        for record in records
        if record.source and record.source.depths and not any("rsum" in m for m in record.metrics.values())
    }


def too_short_sentence(records: Iterable[RunRecord]) -> list[str]:
    """That they are in no table; nothing if there are none."""
    found = too_short(records)
    if not found:
        return []
    named = "; ".join(f"{name} ({lists})" for name, lists in found.items())
    return [f"In no table and no test, since candidate lists shorter than 10 decide no rSum: {named}."]


def runs_of_common_seed(records: Sequence[RunRecord]) -> dict[Gallery, dict[str, RunRecord]]:
    """The measured run of each method by gallery and label, at the lowest seed that all methods there share.

    Raises:
        InvalidRecord: the methods on a gallery share no seed.
    """
    found = {}
    for gallery, members in groups(records).items():
        own = [m for m in members if m.first.origin == "measured" and m.first.protocols[0] == gallery.protocol]
        if not own:
            continue
        common = set.intersection(*(set(member.seeds) for member in own))
        if not common:
            raise InvalidRecord(
                f"the methods on {gallery.title} share no seed, so their points cannot be compared; train one seed for all"
            )
        found[gallery] = {member.label: next(r for r in member.records if r.seed == min(common)) for member in own}
    return found


def identity(record: RunRecord) -> str:
    """Hash of everything that decides a run's numbers except its seed; equal for the seeds of one method."""
    # A variant is a name for settings that the spec holds in full; a row without settings has only the name.
    variant = "" if record.spec.get("config") else record.variant
    spec = {key: dict(part) if isinstance(part, dict) else part for key, part in record.spec.items()}
    for path in ("variant", *_NOT_IDENTITY):
        part, _, key = path.rpartition(".")
        holder = spec.get(part) if part else spec
        if isinstance(holder, dict):
            holder.pop(key, None)
    plugins = spec.pop("plugins_sha256", None)
    if isinstance(plugins, dict):  # a further metric changes no rank
        plugins = {key: sha for key, sha in plugins.items() if not str(key).startswith("metric.")}
    if plugins:
        spec["plugins_sha256"] = plugins
    return sha256_json([record.origin, record.code_origin, record.scorer, variant, record.backbone, spec])


def _labelled(gallery: Gallery, parts: Mapping[str, list[RunRecord]]) -> list[Group]:
    made = []
    for key, records in parts.items():
        by_seed = {record.seed: record for record in sorted(records, key=lambda r: (r.started, r.run_id))}
        kept = tuple(by_seed[seed] for seed in sorted(by_seed))
        replaced = tuple(sorted({r.run_id for r in records} - {r.run_id for r in kept}))
        made.append(Group(gallery, kept, key, kept[0].label, replaced))
    return [replace(group, label=label) for group, label in zip(made, _unique_labels(made), strict=True)]


def _unique_labels(made: Sequence[Group]) -> list[str]:
    """Short names that tell methods apart: the label, then how the settings were found, then the backbone, then what differs
    in the specs, then a hash."""
    labels = [group.label for group in made]
    for marks_of in (
        lambda some: ["" if (kind := tuning(group.records)) in _USUAL else f" ({kind})" for group in some],
        lambda some: [f" [{group.first.backbone}]" for group in some],
        lambda some: differences([settings_texts(group.first.spec) for group in some]),
        lambda some: [f" [{group.identity[:6]}]" for group in some],
    ):
        for label in [label for label in dict.fromkeys(labels) if labels.count(label) > 1]:
            members = [i for i, other in enumerate(labels) if other == label]
            marks = marks_of([made[i] for i in members])
            if len(set(marks)) > 1:
                for i, mark in zip(members, marks, strict=True):
                    labels[i] += mark
    return labels


def differences(specs: Sequence[Mapping[str, str]]) -> list[str]:
    """The values of at most three keys that tell the specs apart, in parentheses."""
    differing = {key for spec in specs for key in spec if len({other.get(key) for other in specs}) > 1}
    keys = sorted(
        differing.difference(_NOT_IDENTITY),
        key=lambda key: (*(not key.startswith(start) for start in _TELLING), key),
    )[:_MOST_LABEL_KEYS]
    values = [", ".join(f"{key.rpartition('.')[2]}={_short(spec.get(key, 'none'))}" for key in keys) for spec in specs]
    return [f" ({text})" if text else "" for text in values]


def _short(value: str) -> str:
    """A hash by its first digits, as git shows them; anything else as it is."""
    return value[:_HASH_DIGITS] if _SHA256.fullmatch(value) else value


def settings_texts(spec: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a run by dotted key, each as a text.

    >>> settings_texts({"training": {"epochs": 3}, "scorer": "scan"})
    {'training.epochs': '3', 'scorer': 'scan'}
    """
    return {k: v if isinstance(v, str) else canonical_json(v) for k, v in flatten(spec).items()}
