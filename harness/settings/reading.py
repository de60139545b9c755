"""From a YAML file and `--set key=value` to an `Experiment`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import InvalidSpec, UnknownName
from harness.files import strict_yaml
from harness.settings.again import experiment_of, is_run
from harness.settings.base import build
from harness.settings.experiment import Experiment

logger = logging.getLogger(__name__)


def load_experiment(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Experiment:
    """An experiment from a YAML file, the name of a built-in one, or a mapping, with `key=value` overrides.

    >>> load_experiment("quickstart", ["training.epochs=3", "scorers=[chan, grm]"]).training["epochs"]
    3

    Args:
        source: path, name or mapping. The settings of a run (the `config.yaml` in its folder) are an experiment of that
            one run.
        overrides: texts such as `training.epochs=3`, whose values are YAML. `scorers.<key>.…` addresses an entry;
            `scorers=[chan, grm]` selects entries, which keep their settings.

    Raises:
        UnknownName: neither a file nor a built-in name.
        InvalidSpec: not YAML, an unknown key, or a value out of range.
    """
    values = dict(source) if isinstance(source, Mapping) else strict_yaml.read_file(find_experiment(source))
    if is_run(values):
        values = experiment_of(values, "settings of a run" if isinstance(source, Mapping) else str(source))
    where = f"experiment '{values.get('name', source)!s:.80}'"
    values["scorers"] = _entries_by_key(values.get("scorers"), where)
    if values["scorers"] is None:
        del values["scorers"]
    for text in overrides:
        _override(values, text)
    return build(Experiment, values, where)


def _entries_by_key(entries: Any, where: str) -> Any:
    """A list of entries as a mapping by key, which overrides address; the model judges anything else."""
    if isinstance(entries, str):
        entries = [entries]
    if not isinstance(entries, (list, tuple)):
        return entries
    found: dict[str, Any] = {}
    for entry in entries:
        if not isinstance(entry, (str, Mapping)):
            raise InvalidSpec(f"{where}: an entry of scorers is a name or a mapping of settings, got {entry!r:.80}")
        entry = {"name": entry} if isinstance(entry, str) else dict(entry)
        key = entry.get("key") or entry.get("name")
        if key in found or not isinstance(key, str):  # refused by the model, which explains it
            return entries
        found[key] = entry
    return found


def builtin_experiments() -> dict[str, Path]:
    """Names and files of the experiments that come with the harness."""
    return {path.stem: path for path in sorted((Path(__file__).parents[1] / "experiments").glob("*.yaml"))}


def find_experiment(source: str | Path) -> Path:
    """The file of a built-in name or a path."""
    known = builtin_experiments()
    if str(source) in known:
        return known[str(source)]
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    raise UnknownName("experiment", str(source), known)


def parse_setting(text: str, example: str) -> tuple[str, Any]:
    """The key and the value of a `key=value` text; the value is YAML.

    Raises:
        InvalidSpec: not of that form.
    """
    path, separator, raw = text.partition("=")
    if not separator or not all(path.split(".")):
        raise InvalidSpec(f"--set takes key=value, got '{text:.200}'; for example --set {example}")
    return path, strict_yaml.parse(raw, f"the value of --set {path:.80}")


def _override(values: dict[str, Any], text: str) -> None:
    path, value = parse_setting(text, "training.epochs=3")
    if path == "scorers":
        values["scorers"] = chosen = _selected(values, value)
        sweep = values.get("sweep")
        if isinstance(chosen, Mapping) and isinstance(sweep, Mapping) and isinstance(sweep.get("scorers"), Mapping):
            names = {*chosen, *(entry.get("name") for entry in chosen.values() if isinstance(entry, Mapping))}
            values["sweep"] = {**sweep, "scorers": {k: v for k, v in sweep["scorers"].items() if k in names}}
        return
    node: dict[str, Any] = values
    steps = _steps(values, path)
    for step in steps[:-1]:
        child = node.get(step)
        if isinstance(child, str):  # shorthand of a component: `image: regions`
            child = {"name": child}
        if child is not None and not isinstance(child, dict):
            raise InvalidSpec(f"--set {path}: '{step}' holds {child!r:.80}, which has no keys below it")
        if node is values.get("scorers") and step not in node:
            raise UnknownName("scorer entry in --set", step, node)
        node[step] = child = dict(child or {})
        node = child
    node[steps[-1]] = value


def _selected(values: Mapping[str, Any], chosen: Any) -> Any:
    """The entries that `--set scorers=…` names, with the settings that the experiment gives them.

    A variant of an entry (`grm.no_uncertainty` of `grm`) takes over the entry's settings; a name that is not in the
    experiment is added with its defaults. Settings in the override come on top.
    """
    name = f"experiment '{values.get('name', '')}'"
    known = values.get("scorers")
    wanted = _entries_by_key(chosen, "--set scorers")
    if not isinstance(known, Mapping) or not isinstance(wanted, Mapping):
        return wanted
    result: dict[str, Any] = {}
    for key, given in wanted.items():
        if given is not None and not isinstance(given, Mapping):
            raise InvalidSpec(f"--set scorers: entry '{key}' must be a mapping of settings, got {given!r:.80}")
        entry = dict(given or {})
        base = known.get(key, known.get(key.partition(".")[0]))
        if base is None or "weights" in entry:
            result[key] = entry
            if "weights" not in entry:
                logger.info("scorer '%s' is not an entry of %s: it is added with the experiment's settings", key, name)
            continue
        base = {"name": base} if isinstance(base, str) else dict(base or {})
        if key not in known:
            logger.info("scorer '%s' takes over the settings of entry '%s' of %s", key, key.partition(".")[0], name)
            for own in (
                "name",
                "key",
                "source",
                "differs",
                "wants",
            ):  # a variant is not what was published of its entry
                base.pop(own, None)
        result[key] = _laid_over(base, {k: v for k, v in entry.items() if k != "name" or key not in known})
    return result


def _laid_over(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`more` on top of `base`, mapping by mapping."""
    merged = dict(base)
    for key, value in more.items():
        below = merged.get(key)
        merged[key] = _laid_over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _steps(values: Mapping[str, Any], path: str) -> list[str]:
    """The keys of a dotted path.

    Two kinds of key hold a dot themselves: that of an entry (`scorers.scan.t2i_avg.config.pooling`), and the setting that
    a sweep varies (`sweep.space.training.margin`, `sweep.scorers.chan.config.temperature.low`).
    """
    if path.startswith("sweep.space."):
        return ["sweep", "space", *_setting_steps(path.removeprefix("sweep.space."))]
    for front in ("scorers", "sweep.scorers"):
        entries = values.get("scorers")
        if path.startswith(f"{front}.") and isinstance(entries, Mapping):
            rest = path.removeprefix(f"{front}.")
            for key in sorted(entries, key=len, reverse=True):
                if rest == key or rest.startswith(f"{key}."):
                    below = rest.removeprefix(key).removeprefix(".")
                    inner = below.split(".") if front == "scorers" else _setting_steps(below)
                    return [*front.split("."), key, *filter(None, inner)]
    return path.split(".")


def _setting_steps(path: str) -> list[str]:
    """`training.margin.low` -> `training.margin`, `low`."""
    part, _, rest = path.partition(".")
    name, _, below = rest.partition(".")
    return [f"{part}.{name}" if name else part, *filter(None, below.split("."))]
