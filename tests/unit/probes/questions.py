"""Probes for tests: captions that lose their first words, and a probe that fails for one method."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from harness.datasets.base import Dataset, Split
from harness.errors import InvalidDataset
from harness.probes.base import Level, Probe
from harness.probes.retrieval import RetrievalProbe


class Shortened(RetrievalProbe):
    """Captions without their first words."""

    family, name, title, axis = "captions", "shortened", "first words dropped", "words"
    levels = (Level("0", 0.0), Level("2", 2.0))

    def __init__(self, clean: Split, data: str, refuses: str = "", fails: str = ""):
        self.clean, self.data, self.refuses, self.fails = clean, data, refuses, fails
        self.short = dataclasses.replace(
            clean, captions=tuple(" ".join(text.split()[2:]) or text for text in clean.captions)
        )

    @property
    def identity(self):
        return {"data": self.data, "images": len(self.clean.image_ids)}

    def refusal(self, model):
        return "it reads no short captions" if model.record.scorer == self.refuses else ""

    def split(self, level):
        return self.short if level else self.clean

    def answers(self, model):
        if model.record.scorer == self.fails:
            raise InvalidDataset("these captions are too short")
        return super().answers(model)


@dataclasses.dataclass(frozen=True)
class ShortCaptions:
    """A plan of that one probe; picklable."""

    refuses: str = ""
    fails: str = ""

    def probes(self, dataset: Dataset, split: str) -> Sequence[Probe]:
        return [Shortened(dataset.split(split), dataset.sha256, self.refuses, self.fails)]
