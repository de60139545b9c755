"""Perturbed captions: retrieval with worse wording, at five severities, and with captions that became false.

Every caption of the split is perturbed, and the pictures stay as they are. The draws of a caption are made from its id, so
they depend neither on the other captions nor on the model.

Source:
    Qiu et al., Benchmarking Robustness of Multimodal Image-Text Models under Distribution Shift, 2022: perturbations of
    characters and words at rising rates. Differs: their released code changes 5 to 35 % of the words, with synonyms from
    WordNet, and draws again until a sentence encoder finds the result similar. Here the rates are those of `KINDS`, synonyms
    come from a checked table, and no model judges the captions; wrong attributes are ours.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.datasets.base import Dataset, Split
from harness.datasets.scenes.world import Draws
from harness.probes.base import Answers
from harness.probes.model import Model
from harness.probes.retrieval import RetrievalProbe
from harness.robustness.perturbations import edits
from harness.robustness.perturbations.edits import Context, Edit
from harness.robustness.perturbations.lexicon import Lexicon, key_of, lexicon_of
from harness.robustness.perturbations.severities import AXIS, SEVERITIES, severity_levels
from harness.robustness.perturbations.words import parse
from harness.spec import sha256_json

FAMILY = "captions"
#: Part of every identity: raise it when an edit gives another text than before.
GENERATOR = 1


class Kind(NamedTuple):
    """A perturbation.

    Args:
        edit: of one caption.
        title: for tables.
        shares: of `of` that severities 1 to 5 change.
        of: what the shares count.
        remark: what a reader must know.
    """

    edit: Edit
    title: str
    shares: tuple[float, ...]
    of: str
    remark: str = ""


_RARE, _ALL = (0.1, 0.2, 0.3, 0.4, 0.5), (0.2, 0.4, 0.6, 0.8, 1.0)
#: What a reader of wrong attributes must know.
FALSE = (
    "the captions become false: a method that notices loses recall, and the less it loses the less it reads the attribute; "
    "robustness is not what this measures"
)
#: What a reader of other orders must know.
ORDER = (
    "the same words in another order may say something else (a blue cross and an orange ring), so recall that does not drop "
    "may also mean that the order is not read"
)
KINDS = {
    "typos": Kind(edits.typos, "typos", _RARE, "words of three letters and more"),
    "dropped_words": Kind(edits.dropped_words, "dropped words", _RARE, "words"),
    "repeated_words": Kind(edits.repeated_words, "repeated words", _RARE, "words"),
    "swapped_words": Kind(edits.swapped_words, "neighbouring words swapped", _RARE, "words", ORDER),
    "synonyms": Kind(edits.synonyms, "synonyms", _ALL, "words and phrases that have a synonym"),
    "reordered": Kind(edits.reordered, "words in another order", _ALL, "words", ORDER),
    "wrong_attribute": Kind(
        edits.wrong_attribute,
        "wrong attribute (a drop is right)",
        _ALL,
        "colours, sizes, numbers, materials, patterns",
        FALSE,
    ),
}


class CaptionProbe(RetrievalProbe):
    """Retrieval with perturbed captions; see `KINDS`.

    The dataset's own pairs count, as in the protocol `full`. Where the split states more, perturbed captions no longer have it: a
    word less makes a caption true of more pictures, a wrong one of others.

    Args:
        name: a key of `KINDS`.
        split: I images, T captions; all or a sample.
        data: hash of the dataset.
        lexicon: words that may replace each other.
        severities: of 1 to 5.
        seed: of the draws.

    Raises:
        InvalidSpec: see `severity_levels`.
    """

    family = FAMILY
    axis = AXIS

    def __init__(
        self,
        name: str,
        split: Split,
        data: str,
        lexicon: Lexicon,
        severities: Sequence[int] = SEVERITIES,
        seed: int = 0,
    ):
        self.name, self.title = name, KINDS[name].title
        self.levels = severity_levels(severities)
        self._split, self._data, self._lexicon, self._seed = split, data, lexicon, seed
        self._texts: dict[int, tuple[str, ...]] = {}

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """Data, sample, shares, seed, versions of the generator and the lexicon."""
        return {
            "data": self._data,
            "split": self._split.name,
            "images": len(self._split.image_ids),
            "sample": sha256_json(list(self._split.image_ids)),
            "shares": [self._share(level) for level in range(len(self.levels))],
            "seed": self._seed,
            "generator": GENERATOR,
            "lexicon": self._lexicon.sha256,
        }

    def split(self, level: int) -> Split:
        """The split with its captions at a level; level 0 is the split itself."""
        if self._share(level) == 0:
            return self._split
        return dataclasses.replace(self._split, captions=self.captions(level), relevance=None, stored_texts=None)

    def captions(self, level: int) -> tuple[str, ...]:
        """The captions (T) of a level, made once until `forget`."""
        if level not in self._texts:
            said = self._said
            self._texts[level] = tuple(
                self.perturbed(caption, caption_id, level, Context(self._lexicon, said[image]))
                for caption, caption_id, image in zip(
                    self._split.captions, self._split.caption_ids, self._split.caption_image.tolist(), strict=True
                )
            )
        return self._texts[level]

    def perturbed(self, caption: str, caption_id: str, level: int, context: Context) -> str:
        """One caption at a level; never empty where the caption is not, and without new blanks at its ends."""
        key = hashlib.sha256(f"{FAMILY}/{self.name}/{caption_id}".encode(errors="surrogatepass")).digest()
        draws = Draws(GENERATOR, self._seed, int.from_bytes(key[:16], "little"))
        return KINDS[self.name].edit(parse(caption), self._share(level), draws, context).text

    def changed(self, level: int) -> int:
        """The number of captions that differ from the unchanged ones."""
        return sum(one != other for one, other in zip(self._split.captions, self.split(level).captions, strict=True))

    def refusal(self, model: Model) -> str:
        """Captions in which nothing can be changed, such as those of another language for synonyms."""
        kind = KINDS[self.name]
        if any(self.changed(level) for level in range(len(self.levels))):
            return ""
        return f"none of the {len(self._split.captions):,} captions changes at any severity: they have no {kind.of}"

    def answers(self, model: Model) -> Answers:
        """As `RetrievalProbe`, with the number of captions that changed at each level."""
        changed = {
            f"severity {level.name}": self.changed(number) for number, level in enumerate(self.levels) if level.value
        }
        found, total, kind = super().answers(model), len(self._split.captions), KINDS[self.name]
        ends = list(dict.fromkeys([next(iter(changed)), list(changed)[-1]]))
        span = " and ".join(f"{changed[end]:,} at {end}" for end in ends)
        remarks = (f"of {total:,} captions {span} change (the share counts {kind.of})", kind.remark)
        return dataclasses.replace(
            found,
            counts={**found.counts, **{f"changed at {name}": count for name, count in changed.items()}},
            remarks=tuple(filter(None, (*found.remarks, *remarks))),
        )

    def forget(self) -> None:
        """Drop the perturbed captions."""
        self._texts.clear()

    def _share(self, level: int) -> float:
        severity = int(self.levels[level].value)
        return KINDS[self.name].shares[severity - 1] if severity else 0.0

    @functools.cached_property
    def _said(self) -> list[frozenset[str]]:
        """Words of all captions of each image (I)."""
        said: list[set[str]] = [set() for _ in self._split.image_ids]
        for caption, image in zip(self._split.captions, self._split.caption_image.tolist(), strict=True):
            said[image].update(map(key_of, parse(caption).words))
        return [frozenset(words) for words in said]


def caption_probes(
    dataset: Dataset, split: Split, severities: Sequence[int] = SEVERITIES, seed: int = 0
) -> tuple[CaptionProbe, ...]:
    """All perturbations of captions.

    Args:
        dataset: whose captions they are, which decides the lexicon.
        split: of it, all or a sample.
        severities: of 1 to 5.
        seed: of the draws.
    """
    lexicon = lexicon_of(dataset)
    return tuple(CaptionProbe(name, split, dataset.sha256, lexicon, severities, seed) for name in KINDS)
