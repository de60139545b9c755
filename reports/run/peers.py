"""What other runs on the same data set, and which other seeds of a method there are: read once for all pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from harness.records.run import RunRecord
from harness.reports.runs.groups import identity
from harness.settings.values import flatten
from harness.spec import canonical_json

#: Parts of a spec that are no settings: hashes, and what every page says elsewhere.
_NO_SETTINGS = (
    "scorer",
    "variant",
    "seed",
    "data_sha256",
    "source_sha256",
    "weights_sha256",
    "files_sha256",
    "protocol_files",
    "plugins_sha256",
    "tuning",
)
#: Parts whose settings mean the same in runs of one scorer, or one backbone, only.
_OWNED = ("config", "image", "text")
_LONGEST = 80


def settings_of(record: RunRecord) -> dict[str, Any]:
    """The settings of a run by dotted key.

    >>> spec = {"config": {"pooling": "lse"}, "seed": 3, "threads": 2}
    >>> settings_of(RunRecord.model_construct(spec=spec))
    {'config.pooling': 'lse', 'threads': 2}
    """
    return flatten({key: value for key, value in record.spec.items() if key not in _NO_SETTINGS})


def shown(value: Any) -> str:
    """A value of a setting as people write it.

    >>> shown(None), shown(True), shown([1, 2]), shown("lse"), shown("")
    ('none', 'true', '[1,2]', 'lse', '(empty)')
    """
    text = value if isinstance(value, str) else "none" if value is None else canonical_json(value)
    text = text or "(empty)"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


class Peers:
    """The runs of a results folder, to see one among the others.

    Args:
        records: all of them.
    """

    def __init__(self, records: Iterable[RunRecord]):
        self._values: dict[tuple[str, str], Counter[str]] = {}
        self._seeds: dict[str, list[RunRecord]] = {}
        for record in records:
            for key, value in settings_of(record).items():
                self._values.setdefault(_place(record, key), Counter())[shown(value)] += 1
            self._seeds.setdefault(identity(record), []).append(record)

    def seeds(self, record: RunRecord) -> list[RunRecord]:
        """The other runs of a run's method, which differ in their seed, by rising seed."""
        others = [other for other in self._seeds.get(identity(record), []) if other.run_id != record.run_id]
        return sorted(others, key=lambda other: (other.seed, other.started, other.run_id))

    def others(self, record: RunRecord, key: str, value: Any) -> Mapping[str, int]:
        """What other runs on these data have for a setting that they share, with how many have it; the most frequent first.

        Values of a scorer's config are those of the same scorer, values of a backbone those of the same backbone.
        """
        own = shown(value)
        counted = self._values.get(_place(record, key), Counter())
        return {text: count for text, count in counted.most_common() if text != own}


def _place(record: RunRecord, key: str) -> tuple[str, str]:
    """What is counted together."""
    part = key.partition(".")[0]
    owner = ""
    if part in _OWNED:
        component = record.spec.get(part)
        named = component.get("name", "") if isinstance(component, Mapping) and part != "config" else record.scorer
        owner = str(named)
    owner = "" if key in ("image.name", "text.name") else owner
    return f"{record.data_sha256} {owner}", key
