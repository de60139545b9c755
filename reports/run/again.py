"""How to make a run again: the command, the file of settings that it takes, and what else it rests on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from harness.files import strict_yaml
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.document.text import listed
from harness.settings.again import is_run

#: Folder for the repeated run: in its own it is recorded already.
ANEW = "again"
#: Characters of a hash that people compare.
_SHORT = 12


def settings_file(record: RunRecord) -> str:
    """All settings of a run as the YAML that `itm leaderboard` takes, with how they were found; empty if it has none.

    An ensemble has members instead of settings, and a published row has neither.
    """
    if not is_run(record.spec):
        return ""
    tuning = record.tuning.model_dump()
    return strict_yaml.dump(record.spec | ({"tuning": tuning} if record.tuning.trials else {}))


def command(store: RunStore, record: RunRecord, settings: Path | None = None) -> str:
    """The one command that makes a run again; empty if there is none.

    Args:
        store: where the run lies.
        record: of the run.
        settings: file with its `settings_file`; by default the `config.yaml` in its folder.
    """
    results = store.results.as_posix()
    if record.evaluation.ensemble:
        return shlex.join(["itm", "ensemble", *record.evaluation.ensemble, "--results", results, *record.plugin_words])
    if not is_run(record.spec):
        return ""
    file = settings or store.folder(record.run_id) / "config.yaml"
    failed = record.status == "failed"
    words = ["itm", "leaderboard", file.as_posix(), "--results", results if failed else ANEW]
    words += ["--device", record.environment.device] if record.environment.device else []
    return shlex.join([*words, *record.plugin_words])


def remarks(record: RunRecord) -> Iterator[str]:
    """What the command needs beside itself to give the same numbers, and what it leaves out."""
    if record.evaluation.ensemble:
        yield "It averages the saved scores of its members, which must lie below the same results folder."
        return
    if not is_run(record.spec):
        yield "This record does not hold the settings of a run of this harness, so no command makes it again."
        return
    code = record.code
    if record.status == "finished":
        yield (
            f"It trains and evaluates anew below {ANEW}/ and records the run under the same id, {record.run_id}, wherever "
            "data, scorer and weights are the same; if they are not, one line says what differs."
        )
    if code.revision != "unknown":
        changes = {True: ", with uncommitted changes that the revision does not hold", None: ""}.get(code.dirty, "")
        yield f"The code was at revision {code.revision}{changes}: git checkout {code.revision[:_SHORT]} brings it back."
    else:
        yield "The record does not name the code's revision: it was not run from a git checkout, or by an earlier version."
    if code.plugin and not _is_file(code.plugin):
        yield f"The scorer comes from an installed package, by its entry point {code.plugin}."
    elif code.plugin:
        yield f"The scorer is the plug-in {code.plugin}, named as from the folder in which the command was called."
    for part, place in code.plugins.items():
        what = part.replace(".", " ")
        yield (
            f"The {what} is the plug-in {place}, named as from the folder in which the command was called."
            if _is_file(place)
            else f"The {what} comes from an installed package, by its entry point {place}."
        )
    root = record.spec["dataset"].get("root") if isinstance(record.spec.get("dataset"), dict) else None
    if root:
        yield f"The data are read from {root}; elsewhere, add --set dataset.root=FOLDER."
    if record.spec.get("weights"):
        yield f"The weights are read from {record.spec['weights']}."
    later = [name for name in record.protocols if name not in (record.spec.get("protocols") or ())]
    planned = record.spec.get("evaluation")
    planned = planned.get("metrics", ()) if isinstance(planned, dict) else ()
    metrics = [name for name in record.evaluation.metrics if name not in planned]
    if later or metrics:
        words = [word for name in later for word in ("--protocol", name)]
        words += [word for name in metrics for word in ("--metric", name)]
        words = ["itm", "rescore", record.run_id, *words, "--results", ANEW, *record.plugin_words]
        yield f"Evaluated later: {listed([*later, *metrics])}, by `{shlex.join(words)}`."


def _is_file(plugin: str) -> bool:
    """Whether a plug-in is a file, not an entry point."""
    return plugin.endswith(".py")
