"""Scorer: the one interface that every method implements, and that everything else in the harness is written against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from harness.alignment import Alignment
from harness.errors import CannotEncode
from harness.fragments import Fragments
from harness.losses import TripletLoss
from harness.spec import Component, PartConfig

if TYPE_CHECKING:
    from harness.backbones.base import ImageEncoder, TextEncoder

Objective = Callable[[Tensor, Tensor], Tensor]


class ScorerConfig(PartConfig):
    """Base of every scorer's configuration: immutable, unknown keys refused."""

    #: Also the keywords of `harness.registry.create`, which stand beside the options.
    reserved: ClassVar[frozenset[str]] = PartConfig.reserved | {"image_encoder", "text_encoder"}

    def resolved(self) -> Self:
        """The same settings with each default that depends on another setting filled in, and with unused ones left out.

        Two configs that score alike resolve alike: a run's identity rests on this form.
        """
        return self


@dataclass(frozen=True)
class ScoreLevel:
    """One of the similarities that a score adds up: the score is the sum of each level's `weight` times its scores."""

    weight: float  #: in the score that ranks; 0 = trained, but left out of the ranking
    scorer: (
        Scorer  #: ranks by this level alone: shares the parameters, and scores fragments that the whole has prepared
    )


@dataclass(frozen=True)
class Reading:
    """A quantity inside a scorer that a report may describe by its distribution, such as a gate."""

    title: str  #: for tables: "gate of each word, 0 to 1"
    #: What it is about. Per region it is also described by the region's number, per word by the word.
    each: Literal["image", "patch", "region", "caption", "word"]


class Scorer(nn.Module):
    """Scores images against captions through their fragments.

    A method is one file that subclasses this: it declares its `Config`, its `variants` and `recipe` as data, and
    implements `score`. Work done once per image or per caption belongs in `prepare_images` and `prepare_texts`; work
    that needs both sides belongs in `score`; what the config builds is built in `setup`.

    >>> class FirstFragments(Scorer):
    ...     def score(self, images, texts):
    ...         return images.features[:, 0] @ texts.features[:, 0].T
    >>> images, texts = (Fragments(torch.ones(n, 1, 4), torch.ones(n, 1).bool()) for n in (2, 3))
    >>> FirstFragments().score(images, texts).shape
    torch.Size([2, 3])

    Args:
        config: the method's settings.
        image_encoder: maps a batch of pixels or region features to fragments; None = the scorer only scores fragments.
        text_encoder: maps `Tokens` to fragments; None likewise.
    """

    Config: ClassVar[type[ScorerConfig]] = ScorerConfig
    #: Named overrides of the config: `{"no_uncertainty": {"uncertainty": "off"}}` is written `grm.no_uncertainty`.
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    #: Variants that each remove one component, for an ablation; empty = all variants.
    components: ClassVar[Sequence[str]] = ()
    #: rSum by variant ("" = complete) as a paper prints it, for the ablation report, and where it is printed.
    published_ablation: ClassVar[Mapping[str, float]] = {}
    published_ablation_source: ClassVar[str] = ""
    #: Training settings that the method's paper or code gives.
    recipe: ClassVar[Mapping[str, Any]] = {}
    #: Overrides of the recipe for variants that were published with another one.
    variant_recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    #: What a sweep varies, by path (`config.pooling`, `training.margin`), see `harness.sweeps.space`. A `training.` line
    #: replaces that of the shared space; None removes it.
    search_space: ClassVar[Mapping[str, Any]] = {}
    #: Origin of the code, for tables: "re-implementation" or "official weights".
    origin: ClassVar[str] = "re-implementation"
    #: Publication, for tables.
    citation: ClassVar[str] = ""
    #: Backbones of an experiment's entry that names none; None = the experiment's.
    default_image: ClassVar[Component | None] = None
    default_text: ClassVar[Component | None] = None
    #: What `image_readings` and `text_readings` give, by name.
    readings: ClassVar[Mapping[str, Reading]] = {}
    #: `harness.scorers.authors.layout.AuthorCheckpoints` of a method whose authors' weights can be imported.
    author_checkpoints: ClassVar[Any] = None

    def __init__(
        self,
        config: ScorerConfig | None = None,
        image_encoder: ImageEncoder | None = None,
        text_encoder: TextEncoder | None = None,
    ):
        super().__init__()
        self.config = config if config is not None else self.Config()
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.objective: Objective = TripletLoss(margin=0.2, negatives="hardest")
        self.setup()

    def setup(self) -> None:
        """Build what `self.config` asks for: components, parameters. Called once, at the end of `__init__`."""

    def encode_images(self, batch: Any) -> Fragments:
        """Fragments of a batch of images, ready for `score`.

        Args:
            batch: what the image encoder takes: pixels (N, 3, H, W), or region features as `Fragments`.

        Raises:
            CannotEncode: the scorer was created without an image encoder.
        """
        return self.prepare_images(self.encoders[0](batch))

    def encode_texts(self, batch: Any) -> Fragments:
        """Fragments of `Tokens` of the text encoder's own tokenizer, ready for `score`; errors as `encode_images`."""
        return self.prepare_texts(self.encoders[1](batch))

    def prepare_images(self, images: Fragments) -> Fragments:
        """What the method computes once per image. Applying it twice changes nothing."""
        return images

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """What the method computes once per caption. Applying it twice changes nothing."""
        return texts

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """Score every image against every caption.

        Args:
            images: I images, features (I, R, D), prepared or not.
            texts: T captions, features (T, W, D), prepared or not.

        Returns:
            Similarity (I, T), float, higher is better. An entry depends only on its own image and caption.

        Raises:
            InvalidFragments: the two sides differ in D, or D is not that of the parameters.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement score(images, texts)")

    def losses(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> dict[str, Tensor]:
        """The terms whose sum is minimised.

        Args:
            images: B images, row b belongs to caption b.
            texts: B captions.
            image_ids: (B,) int64; pairs with equal ids are never taken as negatives.

        Returns:
            Scalars by name. The default is the objective on the similarity matrix.
        """
        return {"matching": self.objective(self.score(images, texts), image_ids)}

    def score_levels(self) -> Mapping[str, ScoreLevel]:
        """What a score adds up, by name, so that a report can say what each part ranks alone; none by default."""
        return {}

    def image_readings(self, images: Fragments) -> Mapping[str, Tensor]:
        """The `readings` of prepared images, as they are at evaluation; none by default.

        Args:
            images: I images, as `prepare_images` returns them.

        Returns:
            By name (I,), or (I, F) for what is per patch or region. NaN where there is nothing to say: padding, or a
            quantity that an image of one region does not have.
        """
        return {}

    def text_readings(self, texts: Fragments) -> Mapping[str, Tensor]:
        """As `image_readings`, for T captions: (T,), or (T, W) for what is per word."""
        return {}

    def align(self, images: Fragments, texts: Fragments) -> Alignment | None:
        """Which words are matched with which fragments, as `score` reads them at evaluation.

        The default says that nothing is: the method compares one vector per side. An implementation reads the same
        quantities as `score`, so that what a card shows is what ranked the pair.

        Args:
            images: N images, features (N, R, D), prepared or not; R in the image encoder's order.
            texts: N captions, features (N, W, D), prepared or not; caption n is aligned with image n.

        Returns:
            The alignment of the N pairs, or None. A pair's depends only on its own image and caption.

        Raises:
            InvalidFragments: the numbers of images and captions differ, or the widths.
        """
        return None

    @property
    def encoders(self) -> tuple[ImageEncoder, TextEncoder]:
        """Both backbones.

        Raises:
            CannotEncode: the scorer was created without them.
        """
        if self.image_encoder is None or self.text_encoder is None:
            raise CannotEncode(
                f"{type(self).__name__} was created without backbones, so it can score fragments but neither encode nor "
                "be trained; pass them: create(name, image_encoder=..., text_encoder=...)"
            )
        return self.image_encoder, self.text_encoder

    @property
    def device(self) -> torch.device:
        """Device of the parameters (CPU for a scorer without any)."""
        parameter = next(self.parameters(), None)
        return parameter.device if parameter is not None else torch.device("cpu")
