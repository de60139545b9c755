"""Made-up methods with a known truth, for calibrating the statistics: correlated captions, images and seeds.

A query is a hit at K when a Gaussian sum falls below a threshold. Its parts are shared by all methods (the image's and
the caption's difficulty) or belong to one (its way with the image, with the caption, with a seed), so that the true
recall of a method is a normal probability and the intra-image correlation of caption differences can be dialled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.reports.statistics.checks import array, number, whole
from harness.reports.statistics.runs import MethodRuns

THRESHOLDS = {1: -0.3, 5: 0.6, 10: 1.1}
_RANKS = np.asarray([0.0, 1.0, 5.0, 10.0])  # the smallest rank in each interval between thresholds


@dataclass(frozen=True, kw_only=True)
class World:
    """How queries, methods and seeds vary; standard deviations on the latent scale.

    Attributes:
        images, captions: N and captions per image.
        methods, seeds: M and S.
        image_sd, caption_sd: difficulty shared by all methods.
        method_image_sd, method_caption_sd: a method's own way with an image (this correlates its captions) and query.
        seed_sd: shift of all queries by a seed; seed_query_sd: a seed's noise on each query.
        offset: shift of the first method; positive is worse.
    """

    images: int = 1000
    captions: int = 5
    methods: int = 2
    seeds: int = 1
    image_sd: float = 0.6
    caption_sd: float = 0.6
    method_image_sd: float = 0.3
    method_caption_sd: float = 0.5
    seed_sd: float = 0.0
    seed_query_sd: float = 0.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        check_world(self)

    @property
    def kind(self) -> str:
        """For the table of the calibration: nothing beyond what its settings say."""
        return ""

    def draw(self, generator: np.random.Generator) -> list[MethodRuns]:
        """Runs of all methods on one draw of images, captions and seeds."""
        caption_image = np.repeat(np.arange(self.images), self.captions)
        image = self.image_sd * generator.standard_normal(self.images)
        query = {
            "i2t": image + self.caption_sd * generator.standard_normal(self.images),
            "t2i": image[caption_image] + self.caption_sd * generator.standard_normal(len(caption_image)),
        }
        image_ids, caption_ids = np.arange(self.images), np.arange(len(caption_image))
        runs = []
        for method in range(self.methods):
            own = self.method_image_sd * generator.standard_normal(self.images)
            shift = self.seed_sd * generator.standard_normal((self.seeds, 1)) + (self.offset if method == 0 else 0.0)
            ranks = {}
            for direction, extra in (("i2t", own), ("t2i", own[caption_image])):
                size = len(extra)
                latent = query[direction] + extra + self.method_caption_sd * generator.standard_normal(size) + shift
                if self.seed_query_sd:
                    latent = latent + self.seed_query_sd * generator.standard_normal((self.seeds, size))
                ranks[direction] = _RANKS[np.searchsorted(list(THRESHOLDS.values()), latent)]
            runs.append(
                MethodRuns(
                    name=f"method {method}",
                    seeds=range(self.seeds),
                    i2t_ranks=ranks["i2t"],
                    t2i_ranks=ranks["t2i"],
                    caption_image=caption_image,
                    image_ids=image_ids,
                    caption_ids=caption_ids,
                )
            )
        return runs

    def true_rsum(self, method: int) -> float:
        """Expected rSum of a method over new images, captions and seeds."""
        variances = (
            self.image_sd,
            self.caption_sd,
            self.method_image_sd,
            self.method_caption_sd,
            self.seed_sd,
            self.seed_query_sd,
        )
        sd = math.sqrt(sum(v**2 for v in variances))
        shift = self.offset if method == 0 else 0.0
        return 200.0 * sum(float(stats.norm.cdf((t - shift) / sd)) for t in THRESHOLDS.values())


def check_world(world: Any) -> None:
    """Refuse sizes below 1, one image, and standard deviations that are negative or NaN (which would be ranked last).

    Raises:
        InvalidSetting: naming the setting.
    """
    for setting in fields(world):
        value = getattr(world, setting.name)
        if setting.name.endswith("sd"):
            number(value, setting.name, least=0)
        elif setting.name == "offset":
            number(value, setting.name)
        elif not isinstance(value, bool):
            whole(value, setting.name, least=2 if setting.name == "images" else 1)


def naive_p(differences: NDArray[np.float64]) -> float:
    """The trap: McNemar's asymptotic test with every caption a unit of its own.

    Args:
        differences: (T,) of hits, in {-1, 0, 1}.

    Returns:
        Two-sided p.

    Raises:
        InvalidSetting: other values.
    """
    differences = array(differences, "differences of hits", least=-1, most=1)
    squares = float(np.square(differences).sum())
    return float(2.0 * stats.norm.sf(abs(float(differences.sum())) / math.sqrt(squares))) if squares > 0 else 1.0
