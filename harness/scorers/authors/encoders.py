"""The encoders of SCAN's and CHAN's code as our backbones, from their state dicts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.backbones.bigru import BiGruConfig, BiGruEncoder
from harness.backbones.regions import RegionConfig, RegionEncoder
from harness.backbones.transformer import PieceTokenizer, TransformerConfig, TransformerEncoder
from harness.backbones.weights import load_strictly
from harness.backbones.words.tokenizers import NoTokenizer, Tokenizer, WordTokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidCheckpoint

State = Mapping[str, Tensor]
#: Where words come from: a file or folder, or a mapping from word to id; None = token ids only.
Words = str | Path | Mapping[str, int] | None
#: Longest caption of imported word encoders: the authors do not cut any (Flickr30K has captions of 75 words).
UNCUT = 1_000_000
#: Heads of CHAN's self-attention, and the width of a head of every published BERT; the weights do not say it.
CHAN_HEADS, BERT_HEAD_WIDTH = 8, 64


def image_encoder(state: State, path: Path) -> RegionEncoder:
    """The encoder of region features; with self-attention where the state has one, which then reads padding too."""
    state = _without_weight_norm(dict(state))
    width, region_width = _matrix(state, "fc.weight", path)
    attention = any(name.startswith("feedforward.") for name in state)
    if attention and width % CHAN_HEADS:
        raise InvalidCheckpoint(f"{path}: its self-attention of width {width} cannot have CHAN's {CHAN_HEADS} heads")
    config = RegionConfig.model_validate({"width": width, "self_attention": attention, "attend_to_padding": attention})
    encoder = RegionEncoder(config, region_width)
    names = {"fc.": "linear.", "feedforward.ln.": "context.norm.", "feedforward.attn.": "context.attention."}
    load_strictly(encoder, _renamed(state, names), f"{path}, image encoder")
    return encoder


def text_encoder(
    state: State, words: Words, added_words: tuple[str, ...], path: Path
) -> BiGruEncoder | TransformerEncoder:
    """The word encoder: BERT where the state has one, else the bi-GRU; `added_words` as `AuthorCheckpoints`."""
    if any(name.startswith("bert.") for name in state):
        return _bert(state, words, path)
    return _bigru(state, words, added_words, path)


def _without_weight_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """SCAN's `--precomp_enc_type weight_norm` keeps the weight's length and direction apart."""
    if {"fc.weight_g", "fc.weight_v"} <= state.keys():
        length, direction = state.pop("fc.weight_g"), state.pop("fc.weight_v")
        norm = direction.norm() if length.numel() == 1 else direction.norm(dim=1, keepdim=True)
        state["fc.weight"] = length * direction / norm
    return state


def _bigru(state: State, words: Words, added_words: tuple[str, ...], path: Path) -> BiGruEncoder:
    count, word_width = _matrix(state, "embed.weight", path)
    config = BiGruConfig.model_validate(
        {
            "width": _matrix(state, "rnn.weight_hh_l0", path)[1],
            "word_width": word_width,
            "layers": max(1, sum(bool(re.fullmatch(r"rnn\.weight_ih_l\d+", name)) for name in state)),
            "bidirectional": "rnn.weight_ih_l0_reverse" in state,
            "max_words": UNCUT,
        }
    )
    tokenizer: Tokenizer = NoTokenizer(count)
    if words is not None:
        tokenizer = WordTokenizer(_vocabulary(words, added_words, count, path), config.max_words)
    encoder = BiGruEncoder(config, tokenizer)
    # CHAN's text encoder owns a linear layer that its forward pass never uses.
    used = {name: value for name, value in state.items() if not name.startswith("fc.")}
    load_strictly(encoder, _renamed(used, {"embed.": "embedding.", "rnn.": "gru."}), f"{path}, text encoder")
    return encoder


def _vocabulary(words: str | Path | Mapping[str, int], added: tuple[str, ...], count: int, path: Path) -> Vocabulary:
    vocabulary = Vocabulary.from_words(words) if isinstance(words, Mapping) else Vocabulary.load(words)
    if added and len(vocabulary) == count - len(added) and not set(added) & set(vocabulary.ids):
        vocabulary = Vocabulary((*vocabulary.entries, *added))
    if len(vocabulary) != count:
        raise InvalidCheckpoint(
            f"{path} embeds {count} words but the vocabulary has {len(vocabulary)}; give the one it was trained with"
        )
    return vocabulary


def _bert(state: State, words: Words, path: Path) -> TransformerEncoder:
    def shape(name: str) -> tuple[int, int]:
        return _matrix(state, name, path)

    vocabulary, hidden = shape("bert.embeddings.word_embeddings.weight")
    architecture: dict[str, Any] = {
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": len({m[0] for name in state if (m := re.match(r"bert\.encoder\.layer\.\d+\.", name))}),
        "num_attention_heads": max(1, hidden // BERT_HEAD_WIDTH),
        "intermediate_size": shape("bert.encoder.layer.0.intermediate.dense.weight")[0],
        "max_position_embeddings": shape("bert.embeddings.position_embeddings.weight")[0],
        "type_vocab_size": shape("bert.embeddings.token_type_embeddings.weight")[0],
        "pad_token_id": 0,
    }
    config = TransformerConfig.model_validate(
        {
            "model": "bert",
            "width": shape("linear.weight")[0],
            "max_words": architecture["max_position_embeddings"],
        }
    )
    tokenizer: Tokenizer = NoTokenizer(vocabulary)
    if isinstance(words, (str, Path)):
        tokenizer = PieceTokenizer.load(str(words), config.max_words)
    encoder = TransformerEncoder(config, tokenizer, architecture)
    used = {n: v for n, v in state.items() if not n.startswith("bert.pooler.") and not n.endswith(".position_ids")}
    load_strictly(encoder, _renamed(used, {"bert.": "model.", "linear.": "project."}), f"{path}, text encoder")
    return encoder


def _matrix(state: State, name: str, path: Path) -> tuple[int, int]:
    """The shape of a matrix that the state must hold."""
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
