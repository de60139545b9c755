"""Saved models: one safetensors file that rebuilds a scorer with its backbones, needing neither data nor downloads."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from harness import backbones, registry
from harness.backbones.weights import load_strictly, read_state_dict
from harness.errors import InvalidCheckpoint, InvalidSpec, one_line
from harness.files.kinds import identify, mismatch
from harness.files.writing import atomic_path
from harness.scorer import Scorer
from harness.scorers.authors.checkpoints import import_checkpoint
from harness.spec import RunSpec, canonical_json

__all__ = ["describe_model", "import_checkpoint", "load_model", "load_weights", "save_model"]

FORMAT = "1"  #: of the description; another one is refused


def save_model(scorer: Scorer, path: str | Path, spec: RunSpec | None = None, *, origin: str = "") -> None:
    """Write a scorer's weights and all that is needed to build it again.

    Args:
        scorer: with or without backbones; backbones must be of this package.
        path: a `.safetensors` file, written atomically.
        spec: the run that it comes from, which names the scorer; without one the name is looked up.
        origin: what a table says of the weights; default what the scorer says of its code.

    Raises:
        InvalidSpec: the scorer is not registered, or a backbone is not of this package.
        ResultsNotWritable: the folder cannot be written.
    """
    described = canonical_json({**_describe(scorer, spec), "origin": origin or scorer.origin})
    # Contiguous copies: safetensors refuses views and tensors that share memory.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in scorer.state_dict().items()}
    metadata = {"format": "pt", "itm_format": FORMAT, "itm_model": described}
    with atomic_path(Path(path)) as temporary:
        save_file(state, temporary, metadata=metadata)
        _sort_metadata(temporary)


def load_model(path: str | Path) -> Scorer:
    """The scorer of a file that `save_model` wrote, in evaluation mode, on the CPU.

    Raises:
        InvalidCheckpoint: missing, damaged, not written by `save_model`, or tensors that do not fit the description.
        UnknownName: the scorer comes from a plug-in that is not loaded.
    """
    path = Path(path)
    described = describe_model(path)
    try:
        image = described["image"] and backbones.build_image(
            described["image"], region_width=described["region_width"], load_pretrained=False
        )
        text = described["text"] and backbones.build_text(described["text"], state=described["tokenizer"])
        scorer = registry.create(
            described["scorer"], image_encoder=image or None, text_encoder=text or None, **described["config"]
        )
    except (KeyError, TypeError, InvalidSpec) as error:
        raise InvalidCheckpoint(
            f"{path} describes a model that this version cannot build: {one_line(error)}; "
            "use the version of itm-harness that wrote it"
        ) from None
    load_weights(scorer, path)
    return scorer.eval()


def load_weights(scorer: Scorer, path: str | Path) -> None:
    """Load a safetensors file into a scorer when every name and shape agrees.

    Raises:
        InvalidCheckpoint: missing, damaged, or names or shapes that differ; the scorer is then unchanged.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InvalidCheckpoint(
            f"models are kept as .safetensors files, got {path}; for others use itm import-checkpoint"
        )
    load_strictly(scorer, read_state_dict(path, bare=False), str(path))


def _sort_metadata(path: Path) -> None:
    """Sort the keys of a file's metadata, which safetensors writes in a random order: equal models, equal bytes."""
    with path.open("r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length, "the same values take the same room; the rest is padding"
        file.seek(8)
        file.write(text.ljust(length))


def _describe(scorer: Scorer, spec: RunSpec | None) -> dict[str, Any]:
    image, text = scorer.image_encoder, scorer.text_encoder
    return {
        "scorer": spec.label if spec is not None else _registered_name(scorer),
        "config": scorer.config.model_dump(mode="json"),
        "image": None if image is None else backbones.component_of(image).model_dump(mode="json"),
        "region_width": 0 if image is None else image.input_width,
        "text": None if text is None else backbones.component_of(text).model_dump(mode="json"),
        "tokenizer": None if text is None else text.tokenizer_state(),
    }


def _registered_name(scorer: Scorer) -> str:
    cls = type(scorer)
    for name, source in registry.sources().items():
        if source.target == cls.__module__ or (source.kind != "module" and registry.scorer_class(name) is cls):
            return name
    raise InvalidSpec(f"{cls.__name__} is not a registered scorer, so a saved model cannot name it; register it first")


def describe_model(path: str | Path) -> dict[str, Any]:
    """What a saved model is, without reading its weights.

    Returns:
        `scorer` (with its variant), `config`, `image` and `text` (components or None), `region_width`, `tokenizer`, and
        `origin` of the weights.

    Raises:
        InvalidCheckpoint: missing, damaged, or not written by `save_model`.
    """
    path = Path(path)
    kind = identify(path)
    if kind.key == "missing":
        raise InvalidCheckpoint(f"no model at {path}; expected a .safetensors file that this harness saved")
    if kind.key != "safetensors":
        advice = "convert it with `itm import-checkpoint`" if kind.key == "torch" else "name the model's file"
        raise InvalidCheckpoint(mismatch(path, "a .safetensors file that this harness saved", advice))
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InvalidCheckpoint(f"{path} is not a readable safetensors file: {one_line(error)}") from None
    if metadata.get("itm_format") != FORMAT:
        raise InvalidCheckpoint(
            f"{path} does not say which model it holds (format {metadata.get('itm_format')}, expected {FORMAT}); "
            "only files written by this version of itm-harness can be rebuilt"
        )
    try:
        described = json.loads(metadata.get("itm_model", ""))
    except ValueError:
        described = None
    if not isinstance(described, dict):
        raise InvalidCheckpoint(f"the description in {path} is damaged; expected a JSON object under 'itm_model'")
    return described
