"""What a row of a table rests on beside its numbers: what its checkpoint was chosen on, and how its settings were found.

What nobody said is `unknown`, never a guess. Everything follows from the records, so no dataset and no model is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.records.description import Contamination
from harness.records.run import RunRecord

UNKNOWN = "unknown"
#: Runs of one row, or members of an ensemble, that differ.
MIXED = "mixed"
#: On what the authors' public code keeps its best epoch, by scorer: weights of theirs were chosen there. SCAN, CHAN and
#: VSE-infinity (and NAAF and SGRAF) read the validation split `dev`; LAPS (and AVSE, HREM and D2S-VSE) the test split.
AUTHORS_SELECT_ON = {
    "scan": "validation",
    "chan": "validation",
    "vse_infinity": "validation",
    "sgraf": "validation",
    "laps": "test",
}
#: How a table calls settings by the trials that found them and by whether scores were averaged.
_TUNING = {
    (False, False): "default",
    (True, False): "tuned",
    (False, True): "ensembled",
    (True, True): "tuned and ensembled",
}


def selected_on(records: Sequence[RunRecord]) -> str:
    """On what the checkpoints of a row's runs were chosen: validation, test, last epoch, nothing, mixed or unknown."""
    return _one(checkpoint_selected_on(record) for record in records)


def checkpoint_selected_on(record: RunRecord) -> str:
    """On what the checkpoint of one run was chosen; see `selected_on`.

    A run that was trained here keeps the epoch of the best validation rSum. Without a training there was nothing to choose,
    unless the weights are an author's, who chose them.
    """
    if record.selected_on is not None:
        return record.selected_on
    if record.origin != "measured":
        return UNKNOWN
    members = record.spec.get("ensemble")
    if isinstance(members, Sequence) and not isinstance(members, str):
        return _one(_of_spec(member, record.code_origin) for member in members)
    return _of_spec(record.spec, record.code_origin)


def tuning(records: Sequence[RunRecord]) -> str:
    """How the settings of a row's runs were found: default, tuned, ensembled, tuned and ensembled, mixed or unknown.

    These are different entries of one method: an ensemble costs its members' time, a tuned one its trials.
    """
    return _one(kind_of(record) for record in records)


def kind_of(record: RunRecord) -> str:
    """As `tuning`, of one run."""
    ensembled = bool(record.evaluation.ensemble) or (
        record.source is not None and record.source.reading.get("ensemble")
    )
    if record.origin != "measured" and not record.tuning.is_known:
        return "ensembled" if ensembled else UNKNOWN
    return _TUNING[record.tuning.trials > 0, bool(ensembled)]


@dataclass(frozen=True)
class Overlap:
    """How many images of an evaluated split were trained on.

    Args:
        shared: of them; None = not known.
        images: of the split; 0 = not known.
        how: what was compared, in words.
        unknown: what could not be told, in words; "" = everything was.
    """

    shared: int | None
    images: int = 0
    how: str = ""
    unknown: str = ""

    def __str__(self) -> str:
        if self.shared is None:
            return UNKNOWN
        found = f"{self.shared:,} of {self.images:,}" if self.shared else "none found"
        return f"{found}{f'; {self.unknown}' if self.unknown else ''}"


def contamination(records: Sequence[RunRecord]) -> Overlap:
    """How many images of the evaluated split the runs of a row were trained on, as far as it was looked for.

    The largest number of any run counts. Whether a pretrained tower has seen the images is never known here.
    """
    found = [record.overlaps for record in records]
    unknown = "towers unknown" if any(has_pretrained_towers(record.spec) for record in records) else ""
    if any(overlaps is None for overlaps in found):
        return Overlap(None, unknown=unknown)
    every = [one for overlaps in found for one in overlaps or ()]
    worst = max(every, key=lambda one: one.any, default=None)
    if worst is None:
        return Overlap(0, how="generated images", unknown=unknown)
    return Overlap(worst.any, worst.images, _compared(worst), unknown)


def has_pretrained_towers(spec: Mapping[str, Any]) -> bool:
    """Whether an image or text tower began with weights that were trained elsewhere."""
    towers = [spec.get(side) for side in ("image", "text")]
    return any(tower.get("pretrained") or tower.get("model") for tower in towers if isinstance(tower, Mapping))


def _compared(one: Contamination) -> str:
    ways = {"name": one.names, "number": one.numbers, "content": one.equal, "perceptual hash": one.near}
    return ", ".join(f"{count:,} by {way}" for way, count in ways.items() if count is not None)


def bonus_of_the_test_split(record: RunRecord) -> float | None:
    """What choosing the epoch on the test split would have bought a run, in points of rSum; never a result of it.

    The largest test rSum over the epochs minus that of the epoch that was kept.

    Returns:
        0 or more; None where the test split was not watched (`evaluation.watch_test`).
    """
    course = [epoch.watched.get("rsum") for epoch in record.training.history]
    kept = record.validation.get("epoch")
    if not course or None in course or not isinstance(kept, int) or not 1 <= kept <= len(course):
        return None
    known = [rsum for rsum in course if rsum is not None]
    return max(known) - known[kept - 1]


def mean_bonus(records: Sequence[RunRecord]) -> float | None:
    """The mean of `bonus_of_the_test_split` over those of some runs that were watched; None where none was."""
    found = [bonus for record in records if (bonus := bonus_of_the_test_split(record)) is not None]
    return sum(found) / len(found) if found else None


def bonus_sentence(records: Sequence[RunRecord]) -> str:
    """The same of the runs of a row, in words; "" where none of them was watched."""
    mean, count = mean_bonus(records), sum(bonus_of_the_test_split(record) is not None for record in records)
    if mean is None:
        return ""
    runs = f"mean of {count} runs" if count > 1 else "one run"
    return (
        f"choosing the epoch on the test split would have bought {mean:.1f} rSum here ({runs}); the numbers are of the "
        "epoch that the validation split chose"
    )


def measured_by(record: RunRecord) -> str:
    """Who ranked the queries: this harness with models of its own, this harness from another's results, or nobody here."""
    return {"measured": "measured here", "foreign": "added", "published": "published"}[record.origin]


def _of_spec(spec: Any, code_origin: str) -> str:
    if not isinstance(spec, Mapping):
        return UNKNOWN
    training = spec.get("training")
    if isinstance(training, Mapping) and training.get("epochs"):
        return "validation"
    if spec.get("weights"):
        return AUTHORS_SELECT_ON.get(str(spec.get("scorer")), UNKNOWN) if "official" in code_origin else UNKNOWN
    return "nothing" if isinstance(training, Mapping) else UNKNOWN


def _one(values: Iterable[str]) -> str:
    """The value that all share.

    >>> _one(["test", "test"]), _one(["test", "unknown"]), _one([])
    ('test', 'mixed', 'unknown')
    """
    found = list(dict.fromkeys(values))
    return found[0] if len(found) == 1 else MIXED if found else UNKNOWN
