"""Checkpoints in the layout of SCAN's training script, which its descendants share.

A file holds a dictionary with `model`, a list of state dicts (image encoder, text encoder), and `opt`, an
argparse.Namespace of the command line. Which methods have such checkpoints is said by `Scorer.author_checkpoints`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from harness import registry
from harness.backbones.weights import bare_names, read_safe_pickle, require_finite
from harness.errors import InvalidCheckpoint, InvalidPlugin, UnknownName
from harness.scorer import Scorer
from harness.scorers.authors.encoders import State, image_encoder, text_encoder
from harness.scorers.authors.layout import AuthorCheckpoints

#: The authors' encoders normalise unless told not to; our scorers always do.
UNNORMALISED = ("no_imgnorm", "no_txtnorm")


def import_checkpoint(
    path: str | Path,
    scorer: str,
    *,
    vocabulary: str | Path | None = None,
    **config: Any,
) -> Scorer:
    """The scorer, with its encoders, that an authors' checkpoint holds.

    Args:
        path: the file that the authors' training script saved.
        scorer: whose checkpoint it is: scan or chan.
        vocabulary: the vocabulary JSON that it was trained with (for BERT: a folder with its tokenizer). CHAN's
            checkpoints may hold it themselves. Without one, token ids can be scored but not captions.
        config: overrides of the settings that are read from the checkpoint.

    Returns:
        The scorer in evaluation mode; it scores as the authors' code does, attention to padded regions included.

    Raises:
        UnknownName: another scorer.
        InvalidCheckpoint: missing, damaged, unsafe, or of another layout, shape or setting than this scorer has.
        InvalidDataset: the vocabulary file cannot be read.
        InvalidSpec: an unknown override.

    Source:
        github.com/kuanghuei/SCAN at 8063557, github.com/ppanzx/CHAN at 7a5075e.
    """
    path = Path(path)
    layout = _layout(scorer)
    image_state, text_state, options = _parts(path)
    _require_method(scorer, layout, options, path)
    image = image_encoder(image_state, path)
    own = options.get("word2idx")
    words = vocabulary if vocabulary is not None else own if isinstance(own, Mapping) and own else None
    text = text_encoder(text_state, words, layout.added_words, path)
    if image.width != text.width:
        raise InvalidCheckpoint(f"{path}: its image side has width {image.width} but its text side {text.width}")
    settings = {**_settings(layout, options, path), **config}
    return registry.create(scorer, image_encoder=image, text_encoder=text, **settings).eval()


def _layout(scorer: str) -> AuthorCheckpoints:
    """What the method says of its authors' checkpoints."""
    if scorer in registry.names():
        layout = registry.scorer_class(scorer).author_checkpoints
        if layout is not None:
            return layout
    known = [name for name in registry.names() if _has_checkpoints(name)]
    raise UnknownName("scorer with authors' checkpoints", scorer, known)


def _require_method(scorer: str, layout: AuthorCheckpoints, options: Mapping[str, Any], path: Path) -> None:
    """Refuse a checkpoint that has another method's options and none of this one's."""
    if layout.options.keys() & options.keys():
        return
    for other in filter(_has_checkpoints, registry.names()):
        theirs = _layout(other).options.keys() & options.keys()
        if theirs:
            raise InvalidCheckpoint(
                f"{path} has the options of {other} ({', '.join(sorted(theirs))}) and none of {scorer}; import it as {other}"
            )


def _has_checkpoints(name: str) -> bool:
    try:
        return registry.scorer_class(name).author_checkpoints is not None
    except InvalidPlugin:  # it says so itself when it is asked for
        return False


class _NumpyType:
    """Stands in for numpy.dtype while a checkpoint is read: remembers its code and does nothing."""

    def __init__(self, code: str, *_: Any):
        self.code = code

    def __setstate__(self, state: Any) -> None:
        pass


def _numpy_number(kind: _NumpyType, raw: bytes | str) -> float:
    """Stands in for numpy's scalar constructor: the number in its bytes, and numbers only."""
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    if not re.fullmatch(r"[fiub][1248]", kind.code):
        raise ValueError(f"numpy scalar of type {kind.code!r}")
    return float(np.frombuffer(data, dtype=kind.code, count=1)[0])


#: What the authors' files hold besides tensors and plain values: the command line, and numpy numbers in it.
ALLOWED: tuple[Any, ...] = (
    argparse.Namespace,
    (_NumpyType, "numpy.dtype"),
    (_numpy_number, "numpy.core.multiarray.scalar"),
    (_numpy_number, "numpy._core.multiarray.scalar"),
)


def _parts(path: Path) -> tuple[State, State, dict[str, Any]]:
    """State dicts of the image and the text encoder, and the command line's options."""
    content = read_safe_pickle(path, ALLOWED)
    states = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(states, (list, tuple)) or len(states) < 2 or not all(isinstance(s, Mapping) for s in states):
        raise InvalidCheckpoint(
            f"{path} is not a checkpoint of SCAN's or CHAN's training script: expected a dictionary whose 'model' is a "
            "list of state dicts, image encoder first"
        )
    if any(states[2:]):
        surplus = next(name for state in states[2:] for name in state)
        raise InvalidCheckpoint(
            f"{path} has weights beyond its two encoders (first: '{surplus}'), which are not supported"
        )
    for state in states[:2]:
        wrong = next((name for name, value in state.items() if not isinstance(value, Tensor)), None)
        if wrong is not None or not state:
            raise InvalidCheckpoint(f"{path}: an encoder's state must hold named tensors, got {wrong or 'none'}")
    options = content.get("opt")
    image, text = bare_names(states[0]), bare_names(states[1])
    require_finite(image, f"{path}, image encoder")
    require_finite(text, f"{path}, text encoder")
    return image, text, dict(vars(options)) if isinstance(options, argparse.Namespace) else {}


def _settings(layout: AuthorCheckpoints, options: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Our config from the authors' options; what they leave out keeps our default, which is theirs."""
    for name in UNNORMALISED:
        if options.get(name):
            raise InvalidCheckpoint(f"{path} was trained with --{name}; only models that normalise are supported")
    settings = {}
    for theirs, (ours, values) in layout.options.items():
        value = options.get(theirs)
        if value is None:
            continue
        if values is not None and value not in values:
            raise InvalidCheckpoint(f"{path} was trained with {theirs}={value}; supported: {', '.join(values)}")
        settings[ours] = value if values is None else values[value]
    return settings
