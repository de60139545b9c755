"""Describing a dataset: every fact that can be had before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.backbones.words.vocabulary import Vocabulary
from harness.datasets.base import Dataset
from harness.description.captions import caption_facts
from harness.description.contamination import Other, contamination
from harness.description.duplicates import duplicates
from harness.description.features import feature_facts
from harness.description.hashes import NEAR_BITS
from harness.description.limits import TextLimit, limits_of, usual_limits
from harness.description.pictures import file_facts
from harness.description.sizes import published_sizes, whole_of
from harness.description.views import View, views
from harness.description.words import vocabulary_facts
from harness.errors import InvalidDataset
from harness.records.description import Description, Item, Sample, SplitFacts, VocabularyFacts
from harness.spec import Component

#: Of all samples and pairs, so that a page stays a few megabytes.
SAMPLES, SHOWN_PAIRS = 4, 24
TRAIN = "train"


@dataclass(frozen=True)
class Request:
    """What to look at.

    Args:
        texts: text backbones whose limits are asked for, besides CLIP's and BERT's.
        quick: decode no image.
        near_bits: differing bits of the hash up to which images are near-duplicates.
        samples: images shown of each split.
    """

    texts: Sequence[Component] = ()
    quick: bool = False
    near_bits: int = NEAR_BITS
    samples: int = SAMPLES


@dataclass(frozen=True, eq=False)
class Described:
    """The facts, and small JPEGs by split and image id of the images that a page shows."""

    facts: Description
    thumbnails: Mapping[tuple[str, str], bytes] = field(default_factory=dict)


def describe(
    dataset: Dataset, component: Component, others: Sequence[Other] = (), request: Request | None = None
) -> Described:
    """Look at all splits of a dataset.

    Args:
        dataset: opened.
        component: its layout and options.
        others: splits of other datasets that may share images with it.
        request: what to look at.

    Raises:
        InvalidDataset: no split can be opened.
        ItmError: a text backbone of the request that cannot be built.
    """
    request = request or Request()
    parts = views(dataset, quick=request.quick)
    if not parts:
        where = component.plain.get("root", dataset.title)
        raise InvalidDataset(
            f"{where} has no split of layout {component.name}; name another layout, or none to have it recognised"
        )
    train = next((part for part in parts if part.name == TRAIN), None)
    counts = train.texts.counts() if train else None
    vocabulary = Vocabulary.load(dataset.vocabulary_path) if dataset.vocabulary_path else None
    limits = [
        *usual_limits(),
        *limits_of(request.texts, train.texts.captions if train else parts[0].texts.captions, vocabulary),
    ]
    splits = [_split_facts(part, dataset.title, limits, train, counts or ()) for part in parts]
    found, pairs = duplicates(parts, request.near_bits)
    samples = [sample for part in parts for sample in _samples(part, request.samples)]
    root = str(component.plain.get("root", ""))
    facts = Description(
        title=dataset.title,
        layout=component.name,
        root=root,
        evidence=(dataset.recognise(Path(root).expanduser()) or "") if root else "",
        options=_set_options(dataset),
        quick=request.quick,
        near_bits=request.near_bits,
        splits=splits,
        vocabulary=_vocabulary(dataset, vocabulary, counts, parts),
        duplicates=found,
        pairs=pairs,
        contamination=[contamination(part, other, request.near_bits) for other in others for part in parts],
        samples=samples,
    )
    shown = [item for pair in pairs[:SHOWN_PAIRS] for item in (pair.first, pair.second)]
    shown += [Item(split=sample.split, image_id=sample.image_id) for sample in samples]
    return Described(facts, _thumbnails(parts, shown))


def _split_facts(
    view: View, title: str, limits: Sequence[TextLimit], train: View | None, known: Counter[str] | tuple[()]
) -> SplitFacts:
    reference = train.texts if train is not None and view is not train else None
    has_regions = view.images is not None and "regions" in view.images.inputs
    return SplitFacts(
        name=view.name,
        images=len(view),
        published_images=published_sizes(title, view.name),
        whole_of=whole_of(len(view)),
        captions=caption_facts(view.texts, view.keys, limits, reference, known),
        files=file_facts(view.pictures, view.prints) if view.pictures is not None else None,
        features=feature_facts(view.images) if has_regions and view.images is not None else None,
    )


def _set_options(dataset: Dataset) -> dict[str, str]:
    """The options that differ from their defaults, the folder left out."""
    return {
        name: str(getattr(dataset.config, name))
        for name, option in type(dataset.config).model_fields.items()
        if name != "root" and getattr(dataset.config, name) != option.get_default(call_default_factory=True)
    }


def _vocabulary(
    dataset: Dataset, vocabulary: Vocabulary | None, train: Counter[str] | None, parts: Sequence[View]
) -> VocabularyFacts | None:
    if vocabulary is None or dataset.vocabulary_path is None:
        return None
    others: Counter[str] = Counter()
    for part in parts:
        if part.name != TRAIN:
            others += part.texts.counts()
    return vocabulary_facts(dataset.vocabulary_path, vocabulary, train, others)


def _samples(view: View, number: int) -> list[Sample]:
    """Images evenly spaced over a split."""
    rows = np.unique(np.linspace(0, len(view) - 1, min(number, len(view))).round().astype(np.int64)).tolist()
    owner = view.texts.caption_image
    return [
        Sample(
            split=view.name,
            image_id=view.image_ids[row],
            captions=[view.texts.captions[caption] for caption in np.flatnonzero(owner == row).tolist()],
        )
        for row in rows
    ]


def _thumbnails(parts: Sequence[View], items: Sequence[Item]) -> dict[tuple[str, str], bytes]:
    found = {}
    for part in parts:
        rows = {image_id: row for row, image_id in enumerate(part.image_ids)}
        wanted = sorted({rows[item.image_id] for item in items if item.split == part.name})
        for row, content in part.thumbnails(wanted).items():
            found[part.name, part.image_ids[row]] = content
    return found
