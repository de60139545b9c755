"""The check of a submission: what its files say of each other, of its methods, and of the leaderboard it is meant for.

Problems make a submission unfit; remarks are what a maintainer should look at.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from harness.errors import InvalidRecord, counted
from harness.files.reading import parse_json
from harness.records.frozen.manifest import RUNS, TABLE, FrozenGallery, Manifest
from harness.records.frozen.opening import Opened, ranked_on
from harness.records.frozen.public import names_a_path
from harness.records.frozen.store import FrozenStore
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.ties import RECALLS, TiedRanks
from harness.reports.frozen.contents import table
from harness.reports.runs import evidence
from harness.reports.runs.groups import Group, groups
from harness.reports.runs.loading import method_runs
from harness.reports.statistics.errors import InvalidComparison
from harness.reports.statistics.refusals import MINIMUM_SEEDS

#: Stated and recomputed means of ranks may differ by rounding only.
_MEAN_TOLERANCE = 1e-6
#: A table may differ from the one that is made from the runs by what other machines round otherwise.
_TABLE_TOLERANCE = 1e-6
_TEXTS = ("label", "dataset", "protocol")
_SHOWN = (*_TEXTS, "seeds", *RECALLS, "rsum", "rsum_low", "rsum_high")


@dataclass
class Findings:
    """What a check found."""

    place: str
    title: str = ""
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For a terminal."""
        count = counted(len(self.problems), "problem") if self.problems else "no problem"
        head = f"{self.place}: {count}" + (f" ({self.title})" if self.title else "")
        return [
            head,
            *(f"  problem: {problem}" for problem in self.problems),
            *(f"  remark: {remark}" for remark in self.remarks),
        ]


def check_submission(opened: Opened, base: FrozenStore | None = None) -> Findings:
    """Check a frozen leaderboard, of one method or of many.

    Args:
        opened: as read.
        base: the leaderboard that it is submitted to.
    """
    found = Findings(opened.place, problems=list(opened.problems))
    manifest, store = opened.manifest, opened.store
    if manifest is None or store is None:
        return found
    methods = {(run.method, run.backbone) for run in manifest.runs}
    found.title = f"{manifest.label}: {counted(len(manifest.runs), 'run')} of {counted(len(methods), 'method')}"
    _check_paths(opened, found)
    consistent = _check_numbers(store, found)
    if consistent:
        _check_table(opened.files[TABLE], store, found)
    _check_evidence(manifest, store, found)
    for gallery in manifest.galleries:
        _check_ranks(gallery, store, base or store, found)
    if base is not None:
        _check_base(store, base, found)
    return found


def _check_paths(opened: Opened, found: Findings) -> None:
    values = parse_json(opened.files[RUNS])
    for value in values:
        named = sorted(key for key, content in value.items() if names_a_path(content))
        if named:
            found.problems.append(
                f"run {value['run_id']} names folders of a machine in: {', '.join(named)}; freeze it again"
            )


def _check_numbers(store: FrozenStore, found: Findings) -> bool:
    """The metrics of each record follow from its ranks."""
    before = len(found.problems)
    for record in store.records():
        alone = groups([record])
        for gallery, (group,) in alone.items():
            if not record.has_ranks:
                continue
            try:
                method_runs(store, group)
            except (InvalidRecord, InvalidComparison) as error:
                found.problems.append(str(error).rpartition("; ")[0] or str(error))
                continue
            found.problems += _means(record, gallery.protocol, store.ranks(record.run_id)[gallery.protocol])
    return len(found.problems) == before


def _means(record: RunRecord, protocol: str, ranks: RankTable) -> Iterator[str]:
    """Mean ranks and the tie rate, which are taken over the folds."""
    metrics = record.metrics[protocol]
    if record.source is not None and record.source.depths:
        return  # ranks beyond the depth of the lists are not known
    for way in ("i2t", "t2i"):
        values = getattr(ranks, f"{way}_rank")
        wrong, correct = getattr(ranks, f"{way}_ties"), getattr(ranks, f"{way}_best_tied")
        folds = getattr(ranks, f"{way}_fold")
        if record.ties == "expected" and correct.all():
            values = TiedRanks.from_ranks(values, wrong, correct, "expected").ranks("expected")
        mean = float(np.mean([values[folds == fold].mean() + 1 for fold in np.unique(folds)]))
        stated = metrics.get(f"{way}_meanr")
        if stated is not None and abs(stated - mean) > _MEAN_TOLERANCE * mean:
            yield f"run {record.run_id}: {RUNS} says {way}_meanr = {stated:g} on {protocol}, the ranks {mean:.6g}"


def _check_table(content: bytes, store: FrozenStore, found: Findings) -> None:
    """`leaderboard.csv` is the table of these runs."""
    try:
        stated = pd.read_csv(io.BytesIO(content))
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError):
        found.problems.append(f"{TABLE} is no CSV")
        return
    made = table(store)
    lacking = [name for name in _SHOWN if name not in stated.columns]
    if lacking or len(stated) != len(made):
        what = (
            f"lacks the columns {', '.join(lacking)}"
            if lacking
            else f"has {len(stated)} rows, the runs give {len(made)}"
        )
        found.problems.append(f"{TABLE} {what}")
        return
    for name in _SHOWN:
        ours, theirs = made[name], stated[name]
        wrong = _other_texts(ours, theirs) if name in _TEXTS else _other_numbers(ours, theirs)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            found.problems.append(
                f"{TABLE}, row {row + 1}: {name} is {theirs.iloc[row]!s:.40}, the runs give {ours.iloc[row]!s:.40}"
            )


def _other_texts(ours: pd.Series, theirs: pd.Series) -> np.ndarray:
    """Where texts differ, but for the apostrophe before one that a spreadsheet would take for a formula."""
    plain = theirs.astype(str).str.replace(r"^'(?=[=+\-@\t\r])", "", regex=True)
    return (ours.astype(str) != plain).to_numpy()


def _other_numbers(ours: pd.Series, theirs: pd.Series) -> np.ndarray:
    a, b = (pd.to_numeric(column, errors="coerce").astype(float).to_numpy() for column in (ours, theirs))
    return ~np.isclose(a, b, rtol=_TABLE_TOLERANCE, atol=_TABLE_TOLERANCE, equal_nan=True)


def _check_evidence(manifest: Manifest, store: FrozenStore, found: Findings) -> None:
    """What stands behind each method is stated."""
    seen: set[str] = set()
    for members in groups(store.records()).values():
        for group in members:
            if group.identity not in seen:
                seen.add(group.identity)
                _check_group(group, found)
    lacking = [name for name in ("license", "citation") if not getattr(manifest, name)]
    if lacking:
        found.remarks.append(f"no {' and no '.join(lacking)} stated")


def _check_group(group: Group, found: Findings) -> None:
    first = group.first
    if not first.backbone.strip():
        found.problems.append(f"{group.label}: no backbone is stated")
    if not first.has_ranks:
        return
    if evidence.selected_on(group.records) == evidence.UNKNOWN:
        found.problems.append(
            f"{group.label}: it is not stated on what its checkpoint was chosen (validation, test, last epoch or nothing)"
        )
    if evidence.tuning(group.records) == evidence.UNKNOWN:
        found.problems.append(f"{group.label}: it is not stated how many tuning trials its settings took (0 = none)")
    if evidence.selected_on(group.records) == "test":
        found.remarks.append(f"{group.label}: its checkpoint was chosen on the test split")
    if len(group.seeds) < MINIMUM_SEEDS:
        found.remarks.append(
            f"{group.label}: {counted(len(group.seeds), 'seed')}; a claim about the method needs {MINIMUM_SEEDS}"
        )
    if group.replaced:
        found.problems.append(f"{group.label}: a seed occurs in several runs ({', '.join(group.replaced)})")


def _check_ranks(gallery: FrozenGallery, store: FrozenStore, base: FrozenStore, found: Findings) -> None:
    """Ranks that no model gives, or that look like a mistake."""
    records = {record.run_id: record for record in store.records()}
    bound = _best_t2i_r1(gallery, base)
    for run_id in ranked_on(gallery, records):
        ranks = store.ranks(run_id)[gallery.protocol]
        who = f"run {run_id} on {gallery.title}"
        smallest = {way: getattr(ranks, f"{way}_rank").min() for way in ("i2t", "t2i")}
        found.remarks += [
            f"{who}: no {way} query has rank 0; are its ranks counted from 1?"
            for way, rank in smallest.items()
            if rank >= 1
        ]
        if not (ranks.i2t_rank.any() or ranks.t2i_rank.any()):
            found.remarks.append(f"{who}: every query has rank 0; were the answers known?")
        hits = 100 * float((ranks.t2i_rank < 1).mean())
        if bound is not None and records[run_id].ties == "pessimistic" and hits > bound:
            found.problems.append(
                f"{who}: t2i R@1 is {hits:.2f}, more than the {bound:.2f} that captions shared by several images allow"
            )


def _best_t2i_r1(gallery: FrozenGallery, base: FrozenStore) -> float | None:
    """The best t2i R@1 under the pessimistic rule: of the captions of one text on several images, one image's at most hit.

    Counts of equal captions stand in the records of runs that were measured; of each text at least one caption misses.
    """
    for record in base.records():
        counts = record.evaluation.duplicate_captions
        alike = (record.dataset, record.split, record.data_sha256) == (
            gallery.dataset, gallery.split, gallery.data_sha256,
        )  # fmt: skip
        if alike and record.origin == "measured" and gallery.protocol == "full" and counts:
            captions, repeats, texts = (int(counts.get(key) or 0) for key in ("captions", "repeats", "texts"))
            across = int(counts.get("across_images") or 0)
            if captions != gallery.captions or not across:
                return None
            # Where every repeated text is shared, their number is known; else it is at least one.
            missing = texts if across == repeats + texts else 1
            return 100 * (1 - missing / captions)
    return None


def _check_base(store: FrozenStore, base: FrozenStore, found: Findings) -> None:
    """The same queries and gallery as the leaderboard, the same tie rule, and no run or seed of it again."""
    of_base = {(g.dataset, g.split, g.protocol): g for g in base.manifest.galleries}
    name = base.manifest.label
    if not any((g.dataset, g.split, g.protocol) in of_base for g in store.manifest.galleries):
        titles = "; ".join(g.title for g in base.manifest.galleries)
        found.problems.append(f"it has no gallery of {name}, which is about {titles}")
    for gallery in store.manifest.galleries:
        known = of_base.get((gallery.dataset, gallery.split, gallery.protocol))
        if known is None:
            found.remarks.append(f"{name} has no {gallery.title}")
        elif known.data_sha256 != gallery.data_sha256:
            found.problems.append(
                f"{gallery.title}: other data, {gallery.data_sha256[:12]}; {name} has {known.data_sha256[:12]}"
            )
        else:
            _check_gallery(gallery, store, known, base, found)
    ours, theirs = ({record.run_id: record for record in s.records()} for s in (store, base))
    for run_id in ours.keys() & theirs.keys():
        if ours[run_id].metrics != theirs[run_id].metrics:
            found.problems.append(f"run {run_id} has other numbers than in {name}")


def _check_gallery(
    gallery: FrozenGallery, store: FrozenStore, known: FrozenGallery, base: FrozenStore, found: Findings
) -> None:
    sides = []
    for place, of in ((gallery, store), (known, base)):
        records = {record.run_id: record for record in of.records()}
        run_ids = ranked_on(place, records)
        if not run_ids:
            return
        sides.append((of.ranks(run_ids[0])[place.protocol], {records[run_id].ties for run_id in run_ids}))
    (mine, rules), (theirs, their_rules) = sides
    for what, ours, others in zip(("images", "captions"), _queries(mine), _queries(theirs), strict=True):
        missing, extra = sorted(others.keys() - ours.keys()), sorted(ours.keys() - others.keys())
        if missing or extra:
            example = (missing or extra)[0]
            found.problems.append(
                f"{gallery.title}: {len(missing):,} {what} of {base.manifest.label} are missing and {len(extra):,} are not "
                f"its own, such as {example!r:.60}"
            )
        elif ours != others:
            other = next(query for query in ours if ours[query] != others[query])
            found.problems.append(
                f"{gallery.title}: {what} belong to other images or folds than in {base.manifest.label}, such as {other!r:.60}"
            )
    if rules - their_rules:
        found.problems.append(
            f"{gallery.title}: tied scores are ranked by the rule {', '.join(sorted(rules))}, in {base.manifest.label} by "
            f"{', '.join(sorted(their_rules))}; evaluate under one rule"
        )


def _queries(ranks: RankTable) -> tuple[dict[str, object], dict[str, object]]:
    """Fold of each image query; image and fold of each caption query."""
    images = dict(zip(map(str, ranks.i2t_image_id.tolist()), ranks.i2t_fold.tolist(), strict=True))
    placed = zip(map(str, ranks.t2i_image_id.tolist()), ranks.t2i_fold.tolist(), strict=True)
    return images, dict(zip(map(str, ranks.t2i_caption_id.tolist()), placed, strict=True))
