"""Models of the Hugging Face hub: by name, in a local folder, or in an installed package. No code of theirs is executed.

Also what to say when something is on the hub only and the hub cannot be reached.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.errors import InvalidCheckpoint, InvalidSpec, ItmError, counted, reported_as
from harness.files.packages import is_reference, packaged_model

#: What libraries say when neither the hub answers nor an earlier download is kept.
_UNREACHABLE = ("locate the file on the Hub", "couldn't connect to", "outgoing traffic has been disabled")
#: Errors of the hub's client, by name: importing it costs a second.
_OFFLINE = frozenset(("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectTimeout"))
_log = logging.getLogger(__name__)


@contextmanager
def fetched(kind: type[ItmError], what: str, remedy: str) -> Iterator[None]:
    """Report in one line what a library that downloads makes of a missing connection, or of anything else.

    Args:
        kind: what is raised instead.
        what: what was fetched, as the object of "cannot get".
        remedy: what to give instead.

    >>> with fetched(InvalidCheckpoint, "the weights of vit_tiny", "give a file"):
    ...     raise OSError("We couldn't connect to 'https://huggingface.co' to load the files")
    Traceback (most recent call last):
    harness.errors.InvalidCheckpoint: cannot get the weights of vit_tiny: the Hugging Face hub cannot be reached, and no
    earlier download is kept; give a file
    """
    with reported_as(kind, f"cannot get {what}", remedy):
        try:
            yield
        except ItmError:
            raise
        except Exception as error:
            if is_unreachable(error):
                raise kind(
                    f"cannot get {what}: the Hugging Face hub cannot be reached, and no earlier download is kept; {remedy}"
                ) from None
            raise


def is_unreachable(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that there is no connection to the hub."""
    while error is not None:
        names = {cls.__name__ for cls in type(error).__mro__}
        if names & _OFFLINE or any(words in str(error) for words in _UNREACHABLE):
            return True
        error = error.__cause__ or error.__context__
    return False


def place(model: str) -> str:
    """Where Hugging Face's loaders find a model: its folder in a package, or what was named."""
    return str(packaged_model(model).path) if is_reference(model) else model


def load_model(model: str, what: str, remedy: str) -> Any:
    """An encoder with its trained weights, in float32, without its pooling layer.

    Args:
        model: a name on the hub, a local folder, or `package:NAME`.
        what: what it is for, as in "text backbone transformer 'bert-base-uncased'".
        remedy: see `fetched`.

    Raises:
        InvalidSpec: it cannot be found, holds no safetensors file, or is no encoder of one kind of input.
    """
    from transformers import AutoModel

    return _encoder_only(load_as(AutoModel, model, what, remedy), what).float()


def load_as(kind: Any, model: str, what: str, remedy: str) -> Any:
    """A model of a class of transformers with all its trained weights.

    Args:
        kind: the class.
        model, what, remedy: see `load_model`.

    Raises:
        InvalidSpec: it cannot be found, holds no safetensors file, or lacks a tensor.
    """
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with fetched(InvalidSpec, f"the model of {what}", remedy):
            # safetensors only: a .bin file is a pickle
            loaded, found = kind.from_pretrained(
                place(model), use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    finally:
        if bar:
            logging.enable_progress_bar()
    _require_complete(found, model, what)
    return loaded


def _require_complete(found: Mapping[str, Any], model: str, what: str) -> None:
    """transformers fills what a file lacks with random numbers and only warns of it."""
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise InvalidSpec(
            f"the weights of {what} lack {counted(len(missing), 'tensor')} of the model (first: '{missing[0]}'); "
            "give the weights of this architecture"
        )
    surplus = sorted(found["unexpected_keys"])
    if surplus:
        count = counted(len(surplus), "tensor")
        _log.info(
            "%s: %s of its file have no place in the encoder and are left out (first: %s)", model, count, surplus[0]
        )


def load_config(model: str, what: str, remedy: str) -> dict[str, Any]:
    """The architecture of a model as JSON values, without the names of a classifier's labels.

    Arguments and errors as of `load_model`.
    """
    from transformers import AutoConfig

    with fetched(InvalidSpec, f"the configuration of {what}", remedy):
        return config_values(AutoConfig.from_pretrained(place(model), trust_remote_code=False))


def config_values(config: Any) -> dict[str, Any]:
    """A configuration of transformers as JSON values."""
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return values


def from_config(values: Mapping[str, Any], what: str) -> Any:
    """The encoder of an architecture, with random weights.

    Raises:
        InvalidCheckpoint: the values describe none.
    """
    from transformers import AutoConfig, AutoModel

    options = {key: value for key, value in values.items() if key != "model_type"}
    with reported_as(InvalidCheckpoint, f"cannot rebuild {what} from its saved architecture"):
        return _encoder_only(AutoModel.from_config(AutoConfig.for_model(values["model_type"], **options)), what).float()


def _encoder_only(model: Any, what: str) -> Any:
    """Refuses decoders and dual encoders, and leaves out the pooling layer, which no fragment comes from."""
    kind = model.config.model_type
    if getattr(model.config, "is_encoder_decoder", False):
        raise InvalidSpec(f"{what} takes encoders such as BERT or ViT, not the encoder-decoder {kind}")
    if hasattr(model.config, "text_config") and hasattr(model.config, "vision_config"):
        raise InvalidSpec(
            f"{what} takes an encoder of one kind of input, and {kind} has two towers; use backbone open_clip for it"
        )
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model
