"""Figures inside a page, so that they follow the colours of the screen and say what their marks are."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

from markupsafe import Markup

from harness.errors import InvalidFigure
from harness.reports.document import figures
from harness.reports.document.inline import inline_svg
from harness.reports.document.model import Figure

logger = logging.getLogger(__name__)


def drawer() -> Callable[[Figure], Markup]:
    """What turns the figures of one page into markup, each with ids of its own; a broken file becomes a sentence."""
    numbers = itertools.count(1)

    def drawing(figure: Figure) -> Markup:
        try:
            return inline_svg(figures.svg(figure.drawing), f"figure{next(numbers)}", figure.alt)
        except InvalidFigure as error:
            logger.warning("a figure is left out of a page: %s", error)
            return Markup('<p class="gone">This figure cannot be shown: {}.</p>').format(str(error))

    return drawing
