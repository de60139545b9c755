"""The colours of all figures, and what each becomes in dark mode.

A figure is drawn in light colours. Its SVG holds every colour as a presentation attribute (`fill="#ffffff"`), which any
rule of a style sheet outranks, so that a few attribute selectors turn a light figure into a dark one.
"""

from __future__ import annotations

# Okabe and Ito's colours, ordered so that neighbours also differ in lightness; always paired with a marker.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
GREY = "#5f6670"
FAINT = "#9aa1ab"
GRID = "#e4e7eb"
PAPER = "#ffffff"
# From weak to strong evidence: away from the paper, which is darker on white and lighter on black.
SHADES = ("#f3f5f7", "#b7d4ea", "#5c9fcb", "#0b4f80")

#: Light colour -> dark colour. The paper is the background of our pages in dark mode (`--page`).
DARK = {
    PAPER: "#14181d",
    GRID: "#2b323b",
    FAINT: "#78818d",
    GREY: "#a4aeb9",
    "#000000": "#e3e7ec",
    "#0072b2": "#3d9be0",
    "#e69f00": "#f5c451",
    "#009e73": "#22c08f",
    "#cc79a7": "#dd8fbb",
    "#56b4e9": "#93d3f7",
    "#d55e00": "#f0703a",
    "#f3f5f7": "#20272f",
    "#b7d4ea": "#214a6b",
    "#5c9fcb": "#2a6794",
    "#0b4f80": "#a6d8fa",
}


def dark_rules(root: str = "svg") -> str:
    """The style sheet that turns figures dark on a dark screen; paper stays white.

    Args:
        root: selector of the figures, such as `.chart`; by default for use inside an SVG file.
    """
    rules = [
        f'{root} [{paint}="{light}"]{{{paint}:{dark}}}' for light, dark in DARK.items() for paint in ("fill", "stroke")
    ]
    # matplotlib does not say what is black.
    rules.insert(0, f"{root}{{fill:{DARK['#000000']}}}")
    return f"@media screen and (prefers-color-scheme: dark){{{''.join(rules)}}}"
