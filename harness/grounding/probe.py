"""What every grounding probe does: words with a known place in the picture, and where a model's alignment looks for them.

Shape letters: M words that are asked about, R fragments of an image.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from harness.backbones.base import TextEncoder
from harness.backbones.words import tokenizers
from harness.datasets.base import Split
from harness.datasets.images import Box
from harness.errors import counted
from harness.fragments import Fragments
from harness.grounding.aligned import Aligned
from harness.grounding.boxes import Places, centres_inside, padded
from harness.grounding.measures import random_maps
from harness.grounding.places import fragment_places
from harness.grounding.targets import Target
from harness.grounding.texts import Located, located
from harness.probes.base import Answers, Probe
from harness.probes.model import Model
from harness.records.outcomes import Measure, Unit
from harness.scorer import Scorer
from harness.scoring import evaluating, image_batch

#: Captions that are aligned at once.
BATCH = 128
#: Raised when questions or measures change, so that older answers are asked again.
VERSION = 1
#: Units of measures by what their names begin with; `hit` of all others.
UNITS: dict[str, Unit] = {"inside": "share", "rank_correlation": "value"}

NO_ALIGNMENT = "its method compares one vector per side, so it aligns no words"
NO_PLACES = "where the fragments of its image encoder lie in the picture is not known"
NO_WORDS = "the fragments of its text encoder are not known to be words of the caption"
NO_ENCODERS = "it has no encoders of its own"


class GroundingProbe(Probe):
    """Pointing game, share inside and rank correlation of the maps of words; one item per word, or per phrase.

    Item ids are `<caption id>/<where the word begins>/<role>`, so a table by role groups items by what follows the last
    slash; `image` is the picture's id. Measures, at one level:

    - `pointing` (hit), `inside` (share), `rank_correlation` (value), see `harness.grounding.measures`;
    - each with `_uniform`, the exact expectation of a map that looks at all fragments alike (a random map has the same),
      and `_random`, one seeded draw of a map per word;
    - `reachable` (hit): whether any fragment has its centre in the target. Where none has, as of an object between the
      centres of coarse patches or one that a detector missed, `pointing` and its kin are NaN: no alignment could hit;
    - `inside_ceiling` (share): the largest share that any map over the encoder's fragments could have inside;
    - `pointing_centre` (hit): whether the middle of the picture lies in the target, for which no model is needed;
    - `matched` (hit): whether the method matches the word with anything. Where it does not, the word is a miss;
    - `pointing_regions`, `inside_regions`, `rank_correlation_regions`: the same through the regions that a method gathers,
      only where it gathers some;
    - `gate_separation` (share), one item per caption, only where words have gates: see `harness.grounding.gates`.
    """

    family = "grounding"

    @property
    @abstractmethod
    def split(self) -> Split:
        """The pictures and captions that the targets are of."""

    @property
    @abstractmethod
    def targets(self) -> Sequence[Target]:
        """At least one word that is asked about, in the order of the captions."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Seeds the random maps: the hash of the data."""

    def region_places(self, rows: Sequence[int]) -> Sequence[Sequence[Box]] | None:
        """Where the regions of some pictures lie, in the order of their features; None where that is not known."""
        return None

    def picture_size(self, row: int) -> tuple[int, int]:
        """Width and height of a picture as it is stored."""
        return self.split.images.original(row).size

    def forget(self) -> None:
        """Drop the random maps."""
        self.__dict__.pop("_random", None)

    def refusal(self, model: Model) -> str:
        """A method that aligns nothing, or an encoder whose fragments have no known place."""
        scorer, split = model.scorer, self.split
        if scorer.image_encoder is None or scorer.text_encoder is None:
            return NO_ENCODERS
        caption = self.targets[0].caption
        row, text = int(split.caption_image[caption]), split.captions[caption]
        with evaluating(scorer):
            batch = image_batch(split, scorer.image_encoder, [row])
            images = scorer.encode_images(batch.to(scorer.device))
            texts = scorer.encode_texts(scorer.text_encoder.tokenizer([text]).to(scorer.device))
            if scorer.align(images, texts) is None:
                return NO_ALIGNMENT
        if self._places(scorer, [row], images.mask.shape[1]) is None:
            return NO_PLACES
        return "" if _words(scorer.text_encoder, text, int(texts.lengths[0])) else NO_WORDS

    def answers(self, model: Model) -> Answers:
        """Align every caption that names something with its picture, and measure the maps of its words."""
        images, texts = model.encode(self.split)
        parts: dict[str, list[np.ndarray]] = {}
        gates: dict[int, float] = {}
        unread = 0
        for captions, numbers in self._batches():
            part = self._aligned(model.scorer, images, texts, captions, numbers)
            for name, values in part.measured(self._drawn(numbers, part.places.placed.shape[1])).items():
                parts.setdefault(name, []).append(values)
            gates |= zip(captions, part.separations() or (), strict=False)
            unread += sum(not fragments for fragments in part.fragments)
        found = {name: np.concatenate(values) for name, values in parts.items()}
        found["pointing_centre"] = np.where(found["reachable"] > 0, self._middles, np.nan)
        measures = [
            Measure(name, _unit(name), self._items, self._images, values[None]) for name, values in found.items()
        ]
        counts = self._counts(unread, int(found["matched"].sum()), int(found["reachable"].sum()))
        return Answers((*measures, *self._gate_measures(gates)), counts, remarks=_remarks(counts))

    def _batches(self) -> Iterator[tuple[list[int], list[int]]]:
        """Captions, and the numbers of their targets."""
        by_caption: dict[int, list[int]] = {}
        for number, target in enumerate(self.targets):
            by_caption.setdefault(target.caption, []).append(number)
        captions = list(by_caption)
        for start in range(0, len(captions), BATCH):
            part = captions[start : start + BATCH]
            yield part, [number for caption in part for number in by_caption[caption]]

    def _aligned(
        self, scorer: Scorer, images: Fragments, texts: Fragments, captions: list[int], numbers: list[int]
    ) -> Aligned:
        """Some captions of the split, aligned; `images` and `texts` are all of it."""
        split = self.split
        rows = split.caption_image[captions].tolist()
        images, texts = images[rows], texts[captions]
        with evaluating(scorer):
            alignment = scorer.align(images, texts)
        places = self._places(scorer, rows, images.mask.shape[1])
        assert alignment is not None  # `refusal` asked
        assert places is not None
        own = [split.captions[caption] for caption in captions]
        lengths = texts.lengths.tolist()
        pair = {caption: number for number, caption in enumerate(captions)}
        targets = [self.targets[number] for number in numbers]
        return Aligned(
            alignment=alignment,
            captions=own,
            words=[_words(scorer.encoders[1], text, length) for text, length in zip(own, lengths, strict=True)],
            places=places,
            targets=targets,
            pairs=[pair[target.caption] for target in targets],
        )

    def _places(self, scorer: Scorer, rows: Sequence[int], fragments: int) -> Places | None:
        return fragment_places(scorer.encoders[0], rows, fragments, self.picture_size, self.region_places)

    @cached_property
    def _items(self) -> np.ndarray:
        ids = self.split.caption_ids
        return np.asarray([f"{ids[one.caption]}/{one.span[0]}/{one.role}" for one in self.targets])

    @cached_property
    def _images(self) -> np.ndarray:
        return self._pictures([target.caption for target in self.targets])

    def _pictures(self, captions: Sequence[int]) -> np.ndarray:
        """Ids of the pictures of some captions."""
        return np.asarray([self.split.image_ids[row] for row in self.split.caption_image[list(captions)]])

    @cached_property
    def _middles(self) -> np.ndarray:
        """(M,) whether the middle of the picture lies in each target."""
        middle = Places(np.full((len(self.targets), 1, 4), 0.5), np.ones((len(self.targets), 1), dtype=bool))
        return centres_inside(middle, padded([target.boxes for target in self.targets]))[:, 0].astype(np.float64)

    @cached_property
    def _random(self) -> dict[int, np.ndarray]:
        """Random maps by the number of fragments, which encoders with equally many share."""
        return {}

    def _drawn(self, numbers: Sequence[int], fragments: int) -> np.ndarray:
        """(M, R) the random maps of some targets."""
        if fragments not in self._random:
            self._random[fragments] = random_maps(self._items.tolist(), self.key, fragments)
        return self._random[fragments][list(numbers)]

    def _gate_measures(self, gates: dict[int, float]) -> list[Measure]:
        if not gates:
            return []
        items = np.asarray([self.split.caption_ids[caption] for caption in gates])
        return [Measure("gate_separation", "share", items, self._pictures([*gates]), np.asarray([[*gates.values()]]))]

    def _counts(self, unread: int, matched: int, reachable: int) -> dict[str, int]:
        return {
            "pictures": len(np.unique(self._images)),
            "captions": len({target.caption for target in self.targets}),
            "words": len(self.targets),
            "unread": unread,
            "unmatched": len(self.targets) - matched - unread,
            "unreachable": len(self.targets) - reachable,
        }


def _words(encoder: TextEncoder, caption: str, fragments: int) -> list[Located]:
    return located(caption, tokenizers.words_of(encoder.tokenizer, caption, fragments))


def _remarks(counts: dict[str, int]) -> tuple[str, ...]:
    """What a reader must know of words that count as misses, or that do not count."""
    said = {
        "unread": "that the text encoder does not read; each counts as a miss",
        "unmatched": "that the method matches with nothing; each counts as a miss",
        "unreachable": "with no fragment's centre in the target; none counts in the pointing game",
    }
    return tuple(f"{counted(counts[key], 'word')} {what}" for key, what in said.items() if counts[key])


def _unit(name: str) -> Unit:
    return next((unit for start, unit in UNITS.items() if name.startswith(start)), "hit")
