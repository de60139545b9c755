"""open_clip's tokenizers behind the harness's interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from harness.backbones.words.pieces import Word, joined
from harness.backbones.words.tokenizers import Losses, pad_rows
from harness.fragments import Tokens

ENDS = "</w>"  #: what a piece of CLIP's ends with where it ends a word
BLANK = "_"  #: stands for a masked word, since CLIP's word pieces hold no mask


class OpenClipTokenizer:
    """What open_clip's tokenizers share.

    Args:
        pieces: open_clip's own tokenizer.
        model: the name that it is built by.
    """

    def __init__(self, pieces: Any, model: str):
        self.pieces, self.model = pieces, model
        self.longest = int(pieces.context_length)

    def state(self) -> dict[str, Any]:
        """See `Tokenizer.state`; the word pieces come with open_clip."""
        return {"kind": "open_clip", "model": self.model}


class PieceTokenizer(OpenClipTokenizer):
    """CLIP's byte-pair encoding: ids and a mask up to and including the end of the text."""

    def __init__(self, pieces: Any, model: str):
        super().__init__(pieces, model)
        self.vocabulary_size = int(pieces.vocab_size)
        self.special_ids: tuple[int, ...] = (int(pieces.sot_token_id), int(pieces.eot_token_id))
        self.mask_id = int(pieces.encode(BLANK)[0])

    def piece(self, token: int) -> str:
        """See `Tokenizer.piece`."""
        return str(self.pieces.decode([token])).strip()

    def words(self, caption: str) -> tuple[Word, ...]:
        """See `Tokenizer.words`."""
        groups: list[list[int]] = []
        ids, open_word = self([caption]).ids[0].tolist(), False
        for place, token in enumerate(ids):
            special = token in self.special_ids
            if open_word and not special:
                groups[-1].append(place)
            else:
                groups.append([place])
            open_word = not special and not str(self.pieces.decoder[token]).endswith(ENDS)
        return tuple(self._word(ids, places) for places in groups)

    def _word(self, ids: Sequence[int], places: Sequence[int]) -> Word:
        text = str(self.pieces.decode([ids[place] for place in places])).strip()
        return Word(text, tuple(places), special=ids[places[0]] in self.special_ids)

    def losses(self, captions: Sequence[str]) -> Losses:
        """See `Tokenizer.losses`; byte pairs know every word."""
        ends = 2  # start and end of the text
        return Losses(0, sum(len(self.pieces.encode(caption)) + ends > self.longest for caption in captions))

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids (N, W), W the longest caption; longer ones than the context are cut, with the end kept."""
        ids = self.pieces(list(captions))
        # The end has the highest id, and 0, which pads, is a real piece: only the end tells where the text stops.
        lengths = ids.argmax(dim=1) + 1
        ids = ids[:, : int(lengths.max()) if len(ids) else 1]
        return Tokens(ids, torch.arange(ids.shape[1]) < lengths[:, None])


class PaddedTokenizer(OpenClipTokenizer):
    """Any other tokenizer of open_clip: ids at the full context, padding marked by its own id."""

    def __init__(self, pieces: Any, model: str):
        super().__init__(pieces, model)
        inner = pieces.tokenizer
        self.vocabulary_size = len(inner)
        self.padding_id = int(inner.pad_token_id or 0)
        self.special_ids: tuple[int, ...] = tuple(int(i) for i in inner.all_special_ids)
        mask_id = inner.mask_token_id if inner.mask_token_id is not None else inner.unk_token_id
        self.mask_id = int(mask_id if mask_id is not None else self.padding_id)

    def piece(self, token: int) -> str:
        """See `Tokenizer.piece`."""
        return str(self.pieces.tokenizer.convert_ids_to_tokens(token))

    def words(self, caption: str) -> tuple[Word, ...]:
        """See `Tokenizer.words`; pieces are joined by their own marks."""
        ids = self([caption])[:1].ids[0].tolist()
        special = [place for place, token in enumerate(ids) if token in self.special_ids]
        return joined([self.piece(token) for token in ids], special)

    def losses(self, captions: Sequence[str]) -> Losses:
        """See `Tokenizer.losses`."""
        clean = getattr(self.pieces, "clean_fn", None) or str
        kept = [caption for caption in captions if caption.strip()]
        encoded = (
            self.pieces.tokenizer([clean(caption) for caption in kept], truncation=False)["input_ids"] if kept else []
        )
        meaningless = {*self.special_ids, self.padding_id}
        unknown = sum(meaningless.issuperset(ids) for ids in encoded)
        return Losses(unknown, sum(len(ids) > self.longest for ids in encoded))

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids (N, context) and their mask: everything up to the last id that is no padding."""
        ids = self.pieces(list(captions))
        real = ids != self.padding_id
        last = (real * torch.arange(ids.shape[1])).amax(dim=1)
        return Tokens(ids, torch.arange(ids.shape[1]) <= last[:, None])


class UnpaddedTokenizer(PaddedTokenizer):
    """The same tokenizer without its padding: each caption has the ids that it would have alone."""

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids (N, W), W the longest caption, and their mask."""
        cleaned = [self.pieces.clean_fn(caption) for caption in captions]
        options = {"padding": "max_length", "truncation": True, "max_length": self.longest}
        real = torch.tensor(self.pieces.tokenizer(cleaned, **options)["attention_mask"]).bool()
        # The ids are open_clip's own: some towers' have no separator. Its padding may be a real id, such as the end's.
        ids = self.pieces(list(captions))
        return pad_rows([row[kept].tolist() for row, kept in zip(ids, real, strict=True)], self.padding_id)
