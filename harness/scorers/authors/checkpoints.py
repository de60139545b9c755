"""Checkpoints in the layout of SCAN's training script, which its descendants share.

A file holds a dictionary with `model`, a list of state dicts (image encoder, text encoder), and `opt`, an
argparse.Namespace of the command line. Which methods have such checkpoints is said by `Scorer.author_checkpoints`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from harness import registry
from harness.backbones.weights import bare_names, read_safe_pickle, require_finite
from harness.errors import InvalidCheckpoint, InvalidPlugin, UnknownName
from harness.files.pickles import NumpyType, numpy_number
from harness.scorer import Scorer
from harness.scorers.authors.encoders import State, image_encoder, text_encoder
from harness.scorers.authors.layout import AuthorCheckpoints
from harness.scorers.authors.recognition import foreign_checkpoint

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
    content = _content(path, scorer)
    layout = _layout(scorer)
    image_state, text_state, options = _parts(content, path)
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


#: What the authors' files hold besides tensors and plain values: the command line, and numpy numbers in it.
ALLOWED: tuple[Any, ...] = (
    argparse.Namespace,
    (NumpyType, "numpy.dtype"),
    (numpy_number, "numpy.core.multiarray.scalar"),
    (numpy_number, "numpy._core.multiarray.scalar"),
)


def _content(path: Path, scorer: str) -> Any:
    """What a file holds, unless it is a checkpoint that no scorer can load: then it is named for what it is."""
    try:
        content = read_safe_pickle(path, ALLOWED)
    except InvalidCheckpoint:
        _layout(scorer)  # a name that does not exist is complained about first
        raise
    if description := foreign_checkpoint(content):
        raise InvalidCheckpoint(f"{path} {description}")
    return content


def _parts(content: Any, path: Path) -> tuple[State, State, dict[str, Any]]:
    """State dicts of the image and the text encoder, and the command line's options."""
    states = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(states, (list, tuple)) or len(states) < 2 or not all(isinstance(s, Mapping) for s in states):
        raise InvalidCheckpoint(
            f"{path} is not a checkpoint of SCAN's or CHAN's training script: expected a dictionary whose 'model' is a "
            "list of state dicts, image encoder first"
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
