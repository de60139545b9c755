"""Scorers with parameters whose shape depends on the width D of the fragments, which may be known late.

D is the config's, else the backbones', else that of the first fragments that are prepared or of the first weights that
are loaded. Training knows it from the backbones, before its optimiser collects the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from pydantic import Field
from torch import nn

from harness.errors import InvalidFragments, InvalidSpec
from harness.fragments import Fragments
from harness.scorer import Scorer, ScorerConfig

if TYPE_CHECKING:
    from harness.backbones.base import ImageEncoder, TextEncoder


class LazyWidthConfig(ScorerConfig):
    """A config with the option `width`."""

    width: int | None = Field(None, ge=1, description="D; None = from the backbones, else from the first fragments")


Parts = TypeVar("Parts", bound=nn.Module)


class LazyWidthScorer(Scorer, Generic[Parts]):
    """Base of a scorer that builds `parts` once D is known; a subclass implements `build_parts`.

    Raises:
        InvalidSpec: the widths of the backbones and the config disagree.
    """

    config: LazyWidthConfig
    #: Parameters of `parts` whose last dimension is D, by which saved weights tell D; the first that is there counts.
    width_parameters: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        config: ScorerConfig | None = None,
        image_encoder: ImageEncoder | None = None,
        text_encoder: TextEncoder | None = None,
    ):
        super().__init__(config, image_encoder, text_encoder)
        #: What depends on D; None until D is known.
        self.parts: Parts | None = None
        self._width: int | None = None
        width = self._known_width()
        if width is not None:
            self._build(width)

    def build_parts(self, width: int) -> Parts:
        """The parameters for fragments of width D."""
        raise NotImplementedError(f"{type(self).__name__} must implement build_parts(width)")

    def parts_for(self, fragments: Fragments, side: str) -> Parts:
        """`parts`, built now if these are the first fragments.

        Args:
            fragments: of one side.
            side: "images" or "captions", for the message.

        Raises:
            InvalidFragments: D is not that of the parameters.
        """
        if self.parts is None:
            self._build(fragments.width, fragments.device)
        if fragments.width != self._width:
            raise InvalidFragments(
                f"{side} have width {fragments.width}, but this {type(self).__name__} was built for width "
                f"{self._width}; give both sides one width, or create a new scorer for another"
            )
        assert self.parts is not None
        return self.parts

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As `nn.Module.load_state_dict`; parameters that wait for their width take it from the state."""
        known = [state_dict[name] for name in (f"parts.{p}" for p in self.width_parameters) if name in state_dict]
        if self.parts is None and known:
            self._build(known[0].shape[-1])
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def _build(self, width: int, device: torch.device | None = None) -> None:
        with torch.inference_mode(False):  # else the parameters could never be trained
            self.parts = self.build_parts(width).to(device or self.device).train(self.training)
        self._width = width

    def _known_width(self) -> int | None:
        found = {
            "the config": self.config.width,
            "the image backbone": getattr(self.image_encoder, "width", None),
            "the text backbone": getattr(self.text_encoder, "width", None),
        }
        widths = {where: width for where, width in found.items() if width is not None}
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{width} from {where}" for where, width in widths.items())
            raise InvalidSpec(
                f"{type(self).__name__} needs one width D, got {listed}; set the option 'width' of both backbones to "
                "one value"
            )
        return next(iter(widths.values()), None)
