"""Made-up methods that search one gallery: embeddings, similarity matrices and ranks, with equal methods by design.

In `simulation.World` queries are independent given their image. Real queries are not: all captions are searched in the
same gallery, and one image that a method places badly takes first places from many queries. Here a method embeds every
image and caption of one gallery, and both directions rank the same similarity matrix.

The null is exact: what belongs to a method (its noise, its hubs) is drawn afresh for each image and caption from one
distribution, so that equal methods are exchangeable. A random projection per method would break this: it is fixed over
images, and such methods truly differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.rivals import find_rivals, gallery_ranks
from harness.reports.statistics.runs import MethodRuns
from tests.studies.simulation import check_world


@dataclass(frozen=True, kw_only=True)
class SharedGallery:
    """How images, captions, methods and seeds vary; standard deviations per coordinate, an image's own being 1.

    Attributes:
        images, captions: N and captions per image.
        methods, seeds: M and S.
        dimension: D of the embeddings; similarity is the cosine.
        caption_sd: distance of a caption from its image, shared by all methods.
        method_image_sd: a method's noise on an image, which all captions of that image meet.
        method_caption_sd: a method's noise on a caption.
        hub_sd: a method's bias of each gallery item, in cosines; the favoured items are hubs.
        seed_sd: a seed's noise on every embedding.
        seed_level_sd: spread of the logarithm of a seed's noise: some seeds are better than others.
        offset: extra noise of the first method; 0 for equal methods.
        keep_rivals: as if the scores had been kept, so that the gallery can be counted (`rivals`).
    """

    images: int = 200
    captions: int = 5
    methods: int = 2
    seeds: int = 1
    dimension: int = 16
    caption_sd: float = 0.8
    method_image_sd: float = 0.65
    method_caption_sd: float = 0.5
    hub_sd: float = 0.0
    seed_sd: float = 0.0
    seed_level_sd: float = 0.0
    offset: float = 0.0
    keep_rivals: bool = False

    def __post_init__(self) -> None:
        check_world(self)

    @property
    def kind(self) -> str:
        """For the table of the calibration."""
        return "shared gallery with hubs" if self.hub_sd else "shared gallery"

    @property
    def caption_image(self) -> NDArray[np.int64]:
        """(T,) the image of each caption."""
        return np.repeat(np.arange(self.images), self.captions)

    def similarities(self, generator: np.random.Generator) -> NDArray[np.float64]:
        """Similarity matrices (M, S, N, T) of all methods and seeds on one draw of images and captions."""
        total = self.images * self.captions
        images = generator.standard_normal((self.images, self.dimension))
        captions = images[self.caption_image] + self.caption_sd * generator.standard_normal((total, self.dimension))
        matrices = np.empty((self.methods, self.seeds, self.images, total))
        for method in range(self.methods):
            extra = self.offset if method == 0 else 0.0
            own_images = images + (self.method_image_sd + extra) * generator.standard_normal(images.shape)
            own_captions = captions + (self.method_caption_sd + extra) * generator.standard_normal(captions.shape)
            hubs = np.zeros((1, 1))
            if self.hub_sd:
                image_hubs, caption_hubs = (self.hub_sd * generator.standard_normal(n) for n in (self.images, total))
                hubs = image_hubs[:, None] + caption_hubs
            for seed in range(self.seeds):
                level = self.seed_sd * np.exp(self.seed_level_sd * generator.standard_normal()) if self.seed_sd else 0.0
                pair = [own_images, own_captions]
                if level:
                    pair = [part + level * generator.standard_normal(part.shape) for part in pair]
                left, right = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in pair)
                matrices[method, seed] = left @ right.T + hubs
        return matrices

    def draw(self, generator: np.random.Generator) -> list[MethodRuns]:
        """Runs of all methods on one draw of images, captions and seeds."""
        scores = self.similarities(generator)
        ranks = [[gallery_ranks(matrix, self.caption_image) for matrix in own] for own in scores]
        return [
            MethodRuns(
                name=f"method {method}",
                seeds=range(self.seeds),
                i2t_ranks=np.stack([i2t for i2t, _ in own]),
                t2i_ranks=np.stack([t2i for _, t2i in own]),
                caption_image=self.caption_image,
                image_ids=np.arange(self.images),
                caption_ids=np.arange(self.images * self.captions),
                rivals=tuple(find_rivals(matrix, self.caption_image) for matrix in scores[method])
                if self.keep_rivals
                else None,
            )
            for method, own in enumerate(ranks)
        ]
