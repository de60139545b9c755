"""Where a page is written: a folder named after its experiment, where it overwrites no other experiment's page.

A page says in its JSON what it is about. The same experiment, or one with more scorers, seeds or protocols, replaces it;
another experiment of the same name gets a folder of its own beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.files.names import safe_name
from harness.files.reading import Damaged, read_json
from harness.files.writing import require_inside
from harness.reports.document.model import Report
from harness.reports.document.render import write
from harness.spec import Experiment, sha256_json

ABOUT = "about"

logger = logging.getLogger(__name__)


def about_experiment(experiment: Experiment, **more: str) -> dict[str, Any]:
    """What a page of an experiment is about: its settings by hash, and the scorers, seeds and protocols by name.

    Args:
        experiment: as it was run.
        more: what else tells two pages of it apart, such as the kind of an ablation.
    """
    settings = experiment.model_dump(mode="json")
    shared = {key: settings[key] for key in ("dataset", "image", "text", "training", "evaluation")}
    shared["dataset"].pop("root", None)
    entries = {}
    for entry in settings["scorers"]:
        study = entry.pop("tuning").get("study")  # it may continue and find other settings
        entries[entry["key"]] = sha256_json({"name": entry["name"], "study": study} if study else entry)[:16]
    return {
        "experiment": experiment.name,
        "settings": sha256_json([shared, more])[:16],
        "scorers": entries,
        "seeds": sorted(experiment.seeds),
        "protocols": sorted(experiment.protocols),
    }


def page_folder(root: Path, name: str, stem: str, about: Mapping[str, Any], run_ids: Sequence[str] = ()) -> Path:
    """The folder of a page.

    Args:
        root: folder of all pages of a kind, such as `results/leaderboards`.
        name: of the page, from wherever it comes.
        stem: of its files.
        about: what it is about.
        run_ids: the runs that it shows.

    Returns:
        `root/name`, or `root/name-<hash of about>` where the former holds the page of something else.

    Raises:
        ResultsNotWritable: the folder is a link that leads out of `root`.
    """
    folder = root / safe_name(name)
    if not _may_replace(folder / f"{stem}.json", about, run_ids):
        other = root / safe_name(f"{folder.name}-{sha256_json(dict(about))[:8]}")
        logger.warning("%s holds the page of another experiment of this name; this one is written to %s", folder, other)
        folder = other
    require_inside(folder, root)
    return folder


def write_page(report: Report, root: Path, name: str, about: Mapping[str, Any], run_ids: Sequence[str]) -> Path:
    """Write a report, with what it is about in its data, into the folder of its page; returns the folder.

    Args:
        report: what to write.
        root, name, about, run_ids: as `page_folder`.

    Raises:
        ResultsNotWritable: the folder cannot be written, or is a link that leads out of `root`.
    """
    folder = page_folder(root, name, report.stem, about, run_ids)
    write(replace(report, data={**report.data, ABOUT: dict(about)}), folder)
    return folder


def _may_replace(page: Path, about: Mapping[str, Any], run_ids: Sequence[str]) -> bool:
    if not page.exists():
        return True
    try:
        data = read_json(page)["data"]
        before = data.get(ABOUT)
        if before is None:  # of an earlier version
            return set(data["run_ids"]) <= set(run_ids)
        return before.keys() == about.keys() and all(_covers(about[key], value) for key, value in before.items())
    except (Damaged, KeyError, TypeError, AttributeError):
        return False  # whatever it is, it is not ours to replace


def _covers(new: Any, old: Any) -> bool:
    """Whether nothing of the old value is missing from the new one."""
    if isinstance(new, dict) and isinstance(old, dict):
        return old.items() <= new.items()
    if isinstance(new, list) and isinstance(old, list):
        return all(value in new for value in old)
    return bool(new == old)
