"""Search in photographs by sentences, with a trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import CannotEncode, InvalidIndex, InvalidSpec

if TYPE_CHECKING:
    import pandas as pd

    from harness.datasets.base import Split
    from harness.fragments import Fragments
    from harness.scorer import Scorer
    from harness.scoring import Index

#: Images that are encoded at once.
_BATCH = 256


@dataclass(frozen=True, eq=False, repr=False)
class Search:
    """The images of a split, packed for a model; `Model.search` makes one.

    Args:
        scorer: whose scores order the images.
        index: of the images.
        threads: of the computation, those of the model's run.
    """

    scorer: Scorer
    index: Index
    threads: int = 1

    def __call__(self, sentences: str | Sequence[str], k: int = 10) -> pd.DataFrame:
        """The best images of each sentence.

        Args:
            sentences: one or many.
            k: images per sentence; all of a smaller split.

        Returns:
            Rows by sentence and rank: `sentence`, `rank_from_1`, `image` (its id) and `score` (unitless, higher is better).

        Raises:
            InvalidSpec: a sentence without text.
            CannotEncode: a sentence of which the model knows no word, or which is longer than it reads.
            InvalidIndex: k is not positive.
        """
        import pandas as pd

        from harness.runs.computing import computing
        from harness.scoring import evaluating

        asked = [sentences] if isinstance(sentences, str) else list(sentences)
        _require_text(asked)
        tokenizer = self.scorer.encoders[1].tokenizer
        for sentence in asked:
            lost = tokenizer.losses([sentence])
            if lost.unknown or lost.cut:
                why = (
                    "holds no word that the model knows"
                    if lost.unknown
                    else f"has more than {tokenizer.longest} tokens"
                )
                raise CannotEncode(f"the sentence {sentence!r:.60} {why}; ask in other words")
        rows = []
        with computing(self.threads, self.scorer.device), evaluating(self.scorer):
            # One by one: an encoder's bits may depend on what else is in a batch.
            for sentence in asked:
                found = self.index.top(self.scorer.encode_texts(tokenizer([sentence]).to(self.scorer.device)), k)
                ranked = zip(found.ids[0], found.scores[0].tolist(), strict=True)
                rows += [(sentence, rank, image, score) for rank, (image, score) in enumerate(ranked, 1)]
        return pd.DataFrame(rows, columns=["sentence", "rank_from_1", "image", "score"])

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"<Search in {len(self)} images>"


def _require_text(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        if not isinstance(sentence, str) or not sentence.strip():
            raise InvalidSpec(f"a sentence is a text with words, got {sentence!r:.60}")


def packed_images(scorer: Scorer, split: Split, threads: int, dtype: str | None, path: str | Path | None) -> Search:
    """As `Model.search`, of any scorer with encoders."""
    from harness.runs.computing import computing
    from harness.scoring import Index

    with computing(threads, scorer.device):
        if path is None or not Path(path).exists():
            blocks = _encoded(scorer, split)
            index = Index.build(scorer, blocks, ids=split.image_ids, dtype=dtype or "float32", path=path)
        else:
            index = Index.open(path, scorer)
            kept = str(index.dtype).removeprefix("torch.")
            if index.gallery != "images" or index.ids != tuple(split.image_ids):
                raise InvalidIndex(
                    f"{path} keeps other items than the {len(split.image_ids)} images; name another folder"
                )
            if dtype not in (None, kept):
                raise InvalidIndex(f"{path} keeps {kept}, not {dtype}; name another folder")
    return Search(scorer, index, threads)


def _encoded(scorer: Scorer, split: Split) -> Iterator[Fragments]:
    from harness.scoring import evaluating, image_batch

    encoder, count = scorer.encoders[0], len(split.image_ids)
    for start in range(0, count, _BATCH):
        with evaluating(scorer):
            batch = image_batch(split, encoder, range(start, min(start + _BATCH, count)))
            encoded = scorer.encode_images(batch.to(scorer.device))
        yield encoded
