"""Scorers with parameters whose shape depends on the width D of the fragments, which may be known late.

D is the config's, else the backbones', else that of the first fragments that are prepared or of the first weights that
are loaded. A training knows it from the backbones, before its optimiser collects the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from harness.errors import InvalidFragments, InvalidSpec
from harness.fragments import Fragments
from harness.scorer import Scorer, ScorerConfig

if TYPE_CHECKING:
    from harness.backbones.base import ImageEncoder, TextEncoder


class HasWidth(Protocol):
    """A config with the option `width`."""

    width: int | None


class LazyWidthScorer(Scorer):
    """Base of a scorer that builds `parts` once D is known.

    A subclass ends its `__init__` with `self.build_if_width_is_known()` and implements `build_parts`.

    Raises:
        InvalidSpec: the widths of the backbones and the config disagree.
    """

    #: A parameter in `parts` whose first dimension is D, by which saved weights tell D.
    width_parameter: ClassVar[str]

    def __init__(
        self,
        config: ScorerConfig | None = None,
        image_encoder: ImageEncoder | None = None,
        text_encoder: TextEncoder | None = None,
    ):
        super().__init__(config, image_encoder, text_encoder)
        #: What depends on D; None until D is known.
        self.parts: nn.Module | None = None
        self._width: int | None = None

    def build_parts(self, width: int) -> nn.Module:
        """The parameters for fragments of this width."""
        raise NotImplementedError(f"{type(self).__name__} must implement build_parts(width)")

    def build_if_width_is_known(self) -> None:
        """Build `parts` if the config or a backbone says D."""
        config: HasWidth = self.config  # type: ignore[assignment]
        width = _common_width(type(self).__name__, config.width, self.image_encoder, self.text_encoder)
        if width is not None:
            self._build(width)

    def parts_for(self, fragments: Fragments, side: str) -> nn.Module:
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
                f"{self._width}; give both sides one width, or create a scorer anew for another"
            )
        assert self.parts is not None
        return self.parts

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As `nn.Module.load_state_dict`; parameters that wait for their width take it from the state."""
        known = state_dict.get(f"parts.{self.width_parameter}")
        if self.parts is None and isinstance(known, Tensor):
            self._build(known.shape[0])
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def _build(self, width: int, device: torch.device | None = None) -> None:
        with torch.inference_mode(False):  # else the parameters could never be trained
            self.parts = self.build_parts(width).to(device or self.device).train(self.training)
        self._width = width


def _common_width(
    scorer: str, configured: int | None, image_encoder: nn.Module | None, text_encoder: nn.Module | None
) -> int | None:
    found = {
        "the config": configured,
        "the image backbone": getattr(image_encoder, "width", None),
        "the text backbone": getattr(text_encoder, "width", None),
    }
    widths = {where: width for where, width in found.items() if width is not None}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{width} from {where}" for where, width in widths.items())
        raise InvalidSpec(
            f"{scorer} needs one width D, got {listed}; set the option 'width' of both backbones to one value"
        )
    return next(iter(widths.values()), None)
