"""Which pretrained weights the settings name, whether they are here, and where one gets them. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from harness.backbones.open_clip.names import HUB, LOCAL
from harness.errors import ItmError
from harness.files.packages import install_command, is_reference, packaged_model, packaged_weights
from harness.records.plan import FileState, NeededFile
from harness.spec import Component

Side = Literal["image", "text"]
_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors")
_FETCHED = "fetched when first used with a connection"


def needed_weights(component: Component, side: Side) -> NeededFile | None:
    """The weights that a backbone starts from; None where it starts from random ones.

    Args:
        component: resolved.
        side: which encoder it is of.
    """
    options = component.plain
    if component.name == "patches":
        return _patches(options)
    if component.name == "transformer" and options["model"] != "small" and options["pretrained"]:
        return _transformer(str(options["model"]), side)
    if component.name == "blip":
        return _transformer(str(options["model"]), side)
    if component.name == "open_clip" and options["model"] != "small":
        return _open_clip(options)
    return None


def _patches(options: dict[str, Any]) -> NeededFile | None:
    name, pretrained = str(options["architecture"]), options["pretrained"]
    what = f"weights of {name}"
    if not pretrained:
        return None
    if isinstance(pretrained, str):
        return _named(pretrained, what, packaged_weights)
    import timm  # takes seconds

    settings = timm.get_pretrained_cfg(name)
    repository, url = getattr(settings, "hf_hub_id", None), str(getattr(settings, "url", "") or "")
    state = _cached(repository, ("model.safetensors", "pytorch_model.bin"))
    place = f"https://huggingface.co/{repository}" if repository else url or "nowhere: timm has none for it"
    return NeededFile(
        name=f"timm/{name}",
        what=what,
        where=f"{place} ({_FETCHED}; image.pretrained=PATH names a file instead)",
        state=state,
    )


def _transformer(model: str, side: Side) -> NeededFile:
    what = "weights, config and tokenizer"
    if is_reference(model):
        return _named(model, what, packaged_model)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return NeededFile(name=model, what=what, where="here", state="here")
    names = ("config.json", "tokenizer.json", "model.safetensors")
    state: FileState = "here" if all(_cached(model, (name,)) == "here" for name in names) else "missing"
    where = f"https://huggingface.co/{model} ({_FETCHED}; {side}.model=PATH names a folder instead)"
    return NeededFile(name=model, what=what, where=where, state=state)


def _open_clip(options: dict[str, Any]) -> NeededFile | None:
    model, pretrained = str(options["model"]), options["pretrained"]
    if model.startswith(LOCAL):
        folder = Path(model.removeprefix(LOCAL)).expanduser()
        return NeededFile(name=model, what="config and weights", where=str(folder), state=_exists(folder))
    if model.startswith(HUB):
        repository = model.removeprefix(HUB)
        where = f"https://huggingface.co/{repository} ({_FETCHED})"
        return NeededFile(name=model, what="weights", where=where, state=_cached(repository, _OPEN_CLIP_FILES))
    if not pretrained:
        return None
    import open_clip  # takes seconds

    settings = open_clip.get_pretrained_cfg(model.replace("/", "-"), pretrained)
    if not settings:  # the path of a file
        return _named(str(pretrained), f"weights of {model}", packaged_weights)
    repository, file = str(settings.get("hf_hub") or "").rpartition("/")[::2]
    state = _cached(repository, (file,) if file else _OPEN_CLIP_FILES)
    where = f"https://huggingface.co/{repository} ({_FETCHED}; pretrained=PATH names a file instead)"
    return NeededFile(name=f"{model}/{pretrained}", what="weights of open_clip, both towers", where=where, state=state)


def _named(name: str, what: str, packaged: Any) -> NeededFile:
    """Weights in a file of this disk or in an installed package."""
    if not is_reference(name):
        path = Path(name).expanduser()
        return NeededFile(name=name, what=what, where="the path that the settings name", state=_exists(path))
    try:
        packaged(name)
    except ItmError as error:
        package = name.partition(":")[2].partition("==")[0].partition("/")[0]
        return NeededFile(name=name, what=f"{what} ({error})", where=install_command(package), state="missing")
    return NeededFile(name=name, what=what, where="installed", state="here")


def _exists(path: Path) -> FileState:
    return "here" if path.exists() else "missing"


def _cached(repository: str | None, names: Sequence[str]) -> FileState:
    """Whether one of the files of a repository of Hugging Face's hub is in the local cache."""
    if not repository:
        return "missing"
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(repository, name) for name in names]
    except HFValidationError:  # no name of a repository
        return "missing"
    return "here" if any(isinstance(path, str) for path in found) else "missing"
