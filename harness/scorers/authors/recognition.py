"""Whose checkpoint a file is, by its parts and the names of its tensors: for those that no scorer here can load."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import one_line

_NUMERALS = {1: "one part", 2: "two parts", 3: "three parts", 4: "four parts"}
#: Longest value of an option in a message.
_LONGEST = 40


@dataclass(frozen=True)
class Layout:
    """What a training script has saved.

    Args:
        parts: the names of the tensors of each part; a flat state dict is one part.
        flat: whether the model is one module.
        options: the command line.
        facts: epoch, best rSum.
    """

    parts: Sequence[frozenset[str]]
    flat: bool
    options: Mapping[str, Any]
    facts: Mapping[str, Any]

    def has(self, pattern: str, part: int | None = None) -> bool:
        """Whether a part (None = any) has a tensor whose name begins as the pattern says."""
        chosen = self.parts if part is None else self.parts[part : part + 1]
        return any(re.match(pattern, name) for names in chosen for name in names)


@dataclass(frozen=True)
class Family:
    """The checkpoints of one method's code.

    Args:
        title: with its article.
        parts: what its parts are.
        fits: the evidence.
        scorer: ours, whose weights cannot be read from it; "" = none.
    """

    title: str
    parts: str
    fits: Callable[[Layout], bool]
    scorer: str = ""


#: The first that fits counts. Names of tensors as the methods' public code has them.
FAMILIES = (
    Family(
        "an SGRAF checkpoint",
        "image, text, similarity graph",
        lambda found: (
            len(found.parts) == 3 and found.has(r"SGR_module\.|sim_tranloc_w\.", 2) and not found.has("SAF_", 2)
        ),
    ),
    Family(
        "an SGRAF checkpoint",
        "image, text, similarity attention filtration",
        lambda found: len(found.parts) == 3 and found.has(r"SAF_module\.", 2),
    ),
    Family(
        "an HREM checkpoint",
        "image, text",
        lambda found: len(found.parts) == 2 and found.has(r"aggr\.layers\.", 0) and found.has(r"aggr\.layers\.", 1),
    ),
    Family(
        "a VSE-infinity checkpoint",
        "image, text",
        lambda found: len(found.parts) == 2 and found.has(r"(image_encoder\.)?gpool\.", 0) and found.has(r"gpool\.", 1),
        "vse_infinity",
    ),
    Family(
        "a VSE++ checkpoint",
        "image, text",
        lambda found: len(found.parts) == 2 and {"use_abs", "measure"} <= found.options.keys(),
        "vsepp",
    ),
    Family("a LAPS checkpoint", "the whole model", lambda found: found.flat and found.has(r"cross_net\."), "laps"),
    Family("an AVSE checkpoint", "the whole model", lambda found: found.flat and found.has(r"sim_enc\.")),
    Family(
        "a D2S-VSE checkpoint",
        "the whole model",
        lambda found: found.flat and (found.has(r"prompt_learner\.|long_txt_enc\.") or "distill" in found.options),
    ),
    Family(
        "a checkpoint of LAPS's training script or one of its descendants",
        "the whole model",
        lambda found: found.flat and found.has(r"img_enc\.") and found.has(r"txt_enc\."),
    ),
)


def foreign_checkpoint(content: object) -> str:
    """What a file of a training script is, where no scorer here can load it: a sentence without its subject.

    Args:
        content: of the file, as the restricted reader returns it.

    Returns:
        "" where it is unknown, or of a layout that may be imported.

    >>> state = {"cross_net.aggr_net.scale": 1.0}
    >>> foreign_checkpoint({"model": state, "epoch": 12, "best_rsum": 507.25, "opt": argparse.Namespace(dataset="f30k")})
    "is a LAPS checkpoint (one part: the whole model; epoch 12, best rsum 507.2, data f30k); itm has the scorer laps but cannot \
read these weights: let the method's code save its scores, and give them to `itm evaluate`"
    """
    found = _layout(content)
    family = next((family for family in FAMILIES if found and family.fits(found)), None)
    if found is None or (family is None and len(found.parts) < 3):
        return ""
    title = family.title if family else "a checkpoint of another method"
    parts = _NUMERALS.get(len(found.parts), f"{len(found.parts)} parts")
    names = f": {family.parts}" if family else ""
    about = "; ".join(filter(None, (f"{parts}{names}", _facts(found))))
    ours = family.scorer if family else ""
    why = f"itm has the scorer {ours} but cannot read these weights" if ours else "itm has no scorer for it"
    return f"is {title} ({about}); {why}: let the method's code save its scores, and give them to `itm evaluate`"


def _layout(content: object) -> Layout | None:
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or model is None:
        return None
    states = [model] if isinstance(model, Mapping) else model
    if not isinstance(states, (list, tuple)) or not all(isinstance(state, Mapping) for state in states):
        return None
    kept = [state for state in states if state] or [{}]
    options = content.get("opt")
    return Layout(
        parts=[frozenset(re.sub(r"^(module\.)+", "", str(name)) for name in state) for state in kept],
        flat=isinstance(model, Mapping),
        options=vars(options) if isinstance(options, argparse.Namespace) else {},
        facts=content,
    )


def _facts(found: Layout) -> str:
    epoch, best = found.facts.get("epoch"), found.facts.get("best_rsum")
    data = found.options.get("data_name", found.options.get("dataset"))
    facts = (
        f"epoch {epoch}" if isinstance(epoch, int) else "",
        f"best rsum {best:.1f}" if isinstance(best, (int, float)) else "",
        f"data {one_line(data, _LONGEST)}" if isinstance(data, str) else "",
    )
    return ", ".join(filter(None, facts))
