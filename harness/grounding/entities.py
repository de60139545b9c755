"""Grounding on photographs: phrases of captions on the boxes of Flickr30k Entities."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from harness.datasets.base import Dataset, Split
from harness.datasets.files import read_lines
from harness.errors import InvalidDataset, counted
from harness.grounding.phrases import ANNOTATIONS, NOT_VISUAL, SENTENCES, Picture, read_picture
from harness.grounding.probe import NO_PLACES, VERSION, GroundingProbe
from harness.grounding.targets import Target
from harness.grounding.texts import plain
from harness.probes.base import Answers
from harness.probes.model import Model

#: Largest difference of the aspect ratios of a photograph and of the picture that was annotated.
SHAPE_TOLERANCE = 0.02
#: What `itm ls suites` says.
DESCRIPTION = "grounding: phrases of Flickr30K's captions on the boxes of Flickr30k Entities"
FILES = f"{SENTENCES}/<id>.txt, {ANNOTATIONS}/<id>.xml"
PICTURES = "none: those of the runs' dataset"
#: Why phrases of captions are not asked about.
_NOT_VISUAL, _NO_BOX = "left out: nothing visible is named", "left out: the chain has no box"


class EntityGrounding(GroundingProbe):
    """Phrases with boxes; the role of a phrase is the first of its types: people, clothing, animals, ... Any box of its
    chain counts.

    Captions are matched with those of the files by their letters and digits, so that a caption of the dataset that is worded
    otherwise takes no part; how many do not is counted and said. `UNRELATED_CAPTIONS` is not read: a phrase takes part
    exactly if its chain has a box.

    Args:
        root: the folder of `Sentences` and `Annotations`.
        dataset: of the runs.
        split_name: of it.
        files: name of the files of each picture that is asked about, by its row in the split.
        without: pictures of the split that have no files.
    """

    name = "entities"
    title = "phrases of photographs on their boxes"

    def __init__(self, root: Path, dataset: Dataset, split_name: str, files: Mapping[int, str], without: int):
        self._root, self._dataset, self._split_name = root, dataset, split_name
        self._files, self._without = dict(sorted(files.items())), without

    @property
    def identity(self) -> dict[str, Any]:
        """The data, the annotations of the pictures by content, and the version of the questions."""
        return {"data": self._dataset.sha256, "split": self._split_name, "files": self.key, "version": VERSION}

    @property
    def split(self) -> Split:
        """All of it: other probes ask about it too, so that it is encoded once."""
        return self._dataset.split(self._split_name)

    @property
    def key(self) -> str:
        return self._annotations[1]

    @property
    def targets(self) -> tuple[Target, ...]:
        return self._found[0]

    def picture_size(self, row: int) -> tuple[int, int]:
        """As it is stored."""
        return self._sizes[row]

    def refusal(self, model: Model) -> str:
        """As of every grounding probe, and where no phrase is left to ask about."""
        encoder = model.scorer.image_encoder
        if (
            encoder is not None and encoder.input == "regions"
        ):  # before the pictures are opened: such data may have none
            return NO_PLACES
        return super().refusal(model) if self.targets else "no phrase of these captions has a box"

    def answers(self, model: Model) -> Answers:
        """As of every grounding probe, with what does not fit the files."""
        found, left = super().answers(model), self._found[1]
        lacking = {
            f"{counted(self._without, 'picture')} without files": self._without,
            f"{counted(left['shape'], 'picture')} of another shape than the annotated one": left["shape"],
            f"{counted(left['captions'], 'caption')} worded otherwise than in the files": left["captions"],
        }
        said = [f"{counted(left[why], 'phrase')} {why}" for why in (_NOT_VISUAL, _NO_BOX) if left[why]]
        return replace(
            found,
            counts={
                **found.counts, "without_files": self._without, "other_shape": left["shape"],
                "other_wording": left["captions"],
            },
            partial="; ".join(what for what, number in lacking.items() if number),
            remarks=(*found.remarks, *said, *self._contamination),
        )  # fmt: skip

    @cached_property
    def _annotations(self) -> tuple[dict[int, Picture], str]:
        """What the files say, by row, and the SHA-256 of their content."""
        content, found = hashlib.sha256(), {}
        for row, name in self._files.items():
            found[row], read = read_picture(self._root, name)
            content.update(f"{name} {len(read)}\n".encode() + read)
        return found, content.hexdigest()

    @cached_property
    def _sizes(self) -> dict[int, tuple[int, int]]:
        return {row: self.split.images.original(row).size for row in self._files}

    @cached_property
    def _found(self) -> tuple[tuple[Target, ...], Counter[str]]:
        """The phrases that are asked about, and how many items are not, by the reason."""
        split, left, targets = self.split, Counter[str](), []
        for row, picture in self._annotations[0].items():
            width, height = self._sizes[row]
            if abs(width / height / (picture.size[0] / picture.size[1]) - 1) > SHAPE_TOLERANCE:
                left["shape"] += 1
                continue
            sentences = {sentence.text: sentence for sentence in picture.sentences}
            for caption in np.flatnonzero(split.caption_image == row).tolist():
                sentence = sentences.get(plain(split.captions[caption]))
                if sentence is None:
                    left["captions"] += 1
                    continue
                for phrase in sentence.phrases:
                    boxes = picture.boxes.get(phrase.chain)
                    if phrase.chain == NOT_VISUAL or boxes is None:
                        left[_NOT_VISUAL if phrase.chain == NOT_VISUAL else _NO_BOX] += 1
                    else:
                        targets.append(Target(caption, phrase.span, phrase.role, boxes))
        return tuple(sorted(targets, key=lambda target: target.caption)), left

    @cached_property
    def _contamination(self) -> tuple[str, ...]:
        """Pictures that the files' own training split names, where it is there."""
        path = self._root / "train.txt"
        if not path.is_file():
            return ()
        trained = set(read_lines(path)[0])
        inside = sum(name in trained for name in self._files.values())
        if not inside:
            return ()
        return (f"{inside:,} of {counted(len(self._files), 'picture')} are in train.txt of Flickr30k Entities",)


def entities_probes(folder: Path, dataset: Dataset, split_name: str, count: int) -> Sequence[EntityGrounding]:
    """The probe of a folder of Flickr30k Entities on the pictures of a split that it annotates.

    Args:
        folder: holds `Sentences` and `Annotations`.
        dataset: whose images go by the ids of Flickr30K, with or without the ending of a file.
        split_name: of it.
        count: pictures at most, drawn by the data's hash.

    Raises:
        InvalidDataset: the folder holds no such files, or none of a picture of the split.
    """
    if not ((folder / SENTENCES).is_dir() and (folder / ANNOTATIONS).is_dir()):
        raise InvalidDataset(
            f"{folder} holds no files of entities; expected {FILES}, as annotations.zip of Flickr30k Entities has them"
        )
    ids = dataset.split(split_name).image_ids
    names = [_name(image) for image in ids]
    there = {
        row: name
        for row, name in enumerate(names)
        if (folder / SENTENCES / f"{name}.txt").is_file() and (folder / ANNOTATIONS / f"{name}.xml").is_file()
    }
    if not there:
        raise InvalidDataset(
            f"{folder} has files of none of the {counted(len(ids), 'picture')} of {dataset.title} {split_name}, whose ids are "
            f"such as '{ids[0]:.40}'; Flickr30k Entities goes by the names of Flickr30K's pictures, such as 1007129816"
        )
    rows = np.array(sorted(there))
    if len(rows) > count:
        rows = np.sort(np.random.default_rng(int(dataset.sha256[:16], 16)).choice(rows, count, replace=False))
    return (
        EntityGrounding(folder, dataset, split_name, {row: there[row] for row in rows.tolist()}, len(ids) - len(there)),
    )


def _name(image: str) -> str:
    """The name of a picture's files; the stem of a safe file name, so that it leads nowhere else.

    >>> _name("flickr30k-images/1007129816.jpg"), _name("1007129816")
    ('1007129816', '1007129816')
    """
    return PurePosixPath(image).stem
