"""Checkpoints of the authors of SCAN and CHAN: read without executing their pickle, mapped onto our modules.

Their training scripts save a dictionary with `model`, a list of state dicts (image encoder, text encoder, ...), and `opt`,
an argparse.Namespace of the command line.
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
from harness.backbones.base import Tokenizer
from harness.backbones.bigru import BiGruConfig, BiGruEncoder
from harness.backbones.regions import RegionConfig, RegionEncoder
from harness.backbones.transformer import PieceTokenizer, TransformerConfig, TransformerEncoder
from harness.backbones.vocabulary import MASK, NoTokenizer, Vocabulary, WordTokenizer
from harness.backbones.weights import bare_names, load_strictly, read_safe_pickle, require_finite
from harness.errors import InvalidCheckpoint, UnknownName
from harness.scorer import Scorer

State = Mapping[str, Tensor]
#: Each of the authors' options that decides a score: our config name, and our word for each of their values.
OPTIONS: dict[str, dict[str, tuple[str, dict[str, str] | None]]] = {
    "scan": {
        "cross_attn": ("direction", {"t2i": "t2i", "i2t": "i2t"}),
        "raw_feature_norm": (
            "attention_norm",
            {
                "clipped_l2norm": "clipped_l2norm",
                "l2norm": "l2norm",
                "clipped_l1norm": "clipped_l1norm",
                "l1norm": "l1norm",
                "softmax": "softmax",
                "clipped": "clipped",
                "no_norm": "none",
            },
        ),
        "agg_func": ("pooling", {"LogSumExp": "lse", "Mean": "mean", "Max": "max", "Sum": "sum"}),
        "lambda_softmax": ("inverse_temperature", None),
        "lambda_lse": ("lse_scale", None),
    },
    "chan": {
        "coding_type": ("coding", {"VHACoding": "vha", "THACoding": "tha"}),
        "pooling_type": (
            "pooling",
            {
                "LSEPooling": "lse",
                "MeanPooling": "mean",
                "SumPooling": "sum",
                "MaxPooling": "max",
                "SoftmaxPooling": "softmax",
            },
        ),
        "belta": ("temperature", None),
    },
}
#: Longest caption of imported word encoders: the authors do not cut any (Flickr30K has captions of 75 words).
UNCUT = 1_000_000
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
    if scorer not in OPTIONS:
        raise UnknownName("scorer with authors' checkpoints", scorer, OPTIONS)
    image_state, text_state, options = _parts(path)
    image = _image_encoder(image_state, path)
    text = _text_encoder(text_state, _tokenizer_source(vocabulary, options), path, adds_mask=scorer == "chan")
    if image.width != text.width:
        raise InvalidCheckpoint(f"{path}: its image side has width {image.width} but its text side {text.width}")
    settings = {**_settings(scorer, options, path), **config}
    return registry.create(scorer, image_encoder=image, text_encoder=text, **settings).eval()


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


#: What else than tensors and plain values the authors' files hold: the command line, and numpy numbers in it.
_ALLOWED: tuple[Any, ...] = (
    argparse.Namespace,
    (_NumpyType, "numpy.dtype"),
    (_numpy_number, "numpy.core.multiarray.scalar"),
    (_numpy_number, "numpy._core.multiarray.scalar"),
)


def _parts(path: Path) -> tuple[State, State, dict[str, Any]]:
    """State dicts of the image and the text encoder, and the command line's options."""
    content = read_safe_pickle(path, _ALLOWED)
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


def _image_encoder(state: State, path: Path) -> RegionEncoder:
    state = _without_weight_norm(dict(state))
    width, region_width = _shape(state, "fc.weight", path)
    attention = any(name.startswith("feedforward.") for name in state)
    if attention and width % 8:
        raise InvalidCheckpoint(f"{path}: its self-attention of width {width} cannot have CHAN's 8 heads")
    config = RegionConfig.model_validate(
        {"width": width, "self_attention": attention, "attend_to_padding": attention}  # as the authors' code does
    )
    encoder = RegionEncoder(config, region_width)
    names = {"fc.": "linear.", "feedforward.ln.": "context.norm.", "feedforward.attn.": "context.attention."}
    load_strictly(encoder, _renamed(state, names), f"{path}, image encoder")
    return encoder


def _without_weight_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """SCAN's `--precomp_enc_type weight_norm` keeps the weight's length and direction apart."""
    if {"fc.weight_g", "fc.weight_v"} <= state.keys():
        length, direction = state.pop("fc.weight_g"), state.pop("fc.weight_v")
        norm = direction.norm() if length.numel() == 1 else direction.norm(dim=1, keepdim=True)
        state["fc.weight"] = length * direction / norm
    return state


def _text_encoder(state: State, source: Any, path: Path, adds_mask: bool) -> BiGruEncoder | TransformerEncoder:
    if any(name.startswith("bert.") for name in state):
        return _bert(state, source, path)
    return _bigru(state, source, path, adds_mask)


def _bigru(state: State, source: Any, path: Path, adds_mask: bool) -> BiGruEncoder:
    words, word_width = _shape(state, "embed.weight", path)
    width = _shape(state, "rnn.weight_hh_l0", path)[1]
    config = BiGruConfig.model_validate(
        {
            "width": width,
            "word_width": word_width,
            "layers": max(1, sum(bool(re.fullmatch(r"rnn\.weight_ih_l\d+", name)) for name in state)),
            "bidirectional": "rnn.weight_ih_l0_reverse" in state,
            "max_words": UNCUT,
        }
    )
    tokenizer: Tokenizer = NoTokenizer(words)
    if source is not None:
        vocabulary = Vocabulary.from_words(source) if isinstance(source, Mapping) else Vocabulary.load(source)
        if len(vocabulary) == words - 1 and MASK not in vocabulary.ids and adds_mask:
            vocabulary = Vocabulary((*vocabulary.entries, MASK))  # CHAN's training script adds it to the file's words
        if len(vocabulary) != words:
            raise InvalidCheckpoint(
                f"{path} embeds {words} words but the vocabulary has {len(vocabulary)}; use its own one"
            )
        tokenizer = WordTokenizer(vocabulary, config.max_words)
    encoder = BiGruEncoder(config, tokenizer)  # type: ignore[arg-type]
    # CHAN's text encoder owns a linear layer that its forward pass never uses.
    used = {name: value for name, value in state.items() if not name.startswith("fc.")}
    load_strictly(encoder, _renamed(used, {"embed.": "embedding.", "rnn.": "gru."}), f"{path}, text encoder")
    return encoder


def _bert(state: State, source: Any, path: Path) -> TransformerEncoder:
    width = _shape(state, "linear.weight", path)[0]
    words, hidden = _shape(state, "bert.embeddings.word_embeddings.weight", path)
    architecture: dict[str, Any] = {
        "model_type": "bert",
        "vocab_size": words,
        "hidden_size": hidden,
        "num_hidden_layers": len({m[0] for name in state if (m := re.match(r"bert\.encoder\.layer\.\d+\.", name))}),
        "num_attention_heads": max(1, hidden // 64),  # of every published BERT; the weights do not say it
        "intermediate_size": _shape(state, "bert.encoder.layer.0.intermediate.dense.weight", path)[0],
        "max_position_embeddings": _shape(state, "bert.embeddings.position_embeddings.weight", path)[0],
        "type_vocab_size": _shape(state, "bert.embeddings.token_type_embeddings.weight", path)[0],
        "pad_token_id": 0,
    }
    positions = architecture["max_position_embeddings"]
    config = TransformerConfig.model_validate({"model": "bert", "width": width, "max_words": positions})
    tokenizer: Tokenizer = NoTokenizer(words)
    if isinstance(source, (str, Path)):
        tokenizer = PieceTokenizer.load(config.model_copy(update={"model": str(source)}))
    encoder = TransformerEncoder(config, tokenizer, architecture)
    used = {n: v for n, v in state.items() if not n.startswith("bert.pooler.") and not n.endswith(".position_ids")}
    load_strictly(encoder, _renamed(used, {"bert.": "model.", "linear.": "project."}), f"{path}, text encoder")
    return encoder


def _tokenizer_source(
    vocabulary: str | Path | None, options: Mapping[str, Any]
) -> str | Path | Mapping[str, int] | None:
    """Where the words come from: the caller's file, or the mapping that CHAN's options may hold."""
    if vocabulary is not None:
        return vocabulary
    words = options.get("word2idx")
    return words if isinstance(words, Mapping) and words else None


def _settings(scorer: str, options: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Our config from the authors' options; what they leave out keeps our default, which is theirs."""
    switched_off = [name for name in UNNORMALISED if options.get(name)]
    if switched_off:
        raise InvalidCheckpoint(
            f"{path} was trained with --{switched_off[0]}; only models that normalise are supported"
        )
    settings = {}
    for theirs, (ours, values) in OPTIONS[scorer].items():
        value = options.get(theirs)
        if value is None:
            continue
        if values is not None and value not in values:
            raise InvalidCheckpoint(f"{path} was trained with {theirs}={value}; supported: {', '.join(values)}")
        settings[ours] = value if values is None else values[value]
    return settings


def _shape(state: State, name: str, path: Path) -> tuple[int, int]:
    if name not in state or state[name].ndim != 2:
        came = f"shape {tuple(state[name].shape)}" if name in state else f"only {', '.join(sorted(state)[:4])}"
        raise InvalidCheckpoint(
            f"{path}: expected a matrix '{name}', got {came}; is it a checkpoint of another method?"
        )
    rows, columns = state[name].shape
    return rows, columns


def _renamed(state: State, prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """The same tensors with their prefixes translated; names with another prefix stay, to be refused by name."""
    renamed = {}
    for name, tensor in state.items():
        prefix = next((p for p in prefixes if name.startswith(p)), "")
        renamed[prefixes.get(prefix, "") + name.removeprefix(prefix)] = tensor
    return renamed
