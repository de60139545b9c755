"""Names of open_clip models that say where config and weights are."""

from __future__ import annotations

LOCAL, HUB = "local-dir:", "hf-hub:"


def has_own_weights(model: str) -> bool:
    """Whether a model's name is the place of its weights.

    >>> has_own_weights("local-dir:/models/clip"), has_own_weights("ViT-B-32")
    (True, False)
    """
    return model.startswith((LOCAL, HUB))
