"""The suites by name; each is imported when it is asked for."""

from __future__ import annotations

from harness.composition.examples import Suite
from harness.settings.components import Catalogue

SUITES: Catalogue[Suite] = Catalogue(
    "suite",
    {
        "sugarcrepe": "harness.composition.sugarcrepe:SUITE",
        "sugarcrepe_pp": "harness.composition.sugarcrepe_pp:SUITE",
        "winoground": "harness.composition.winoground:SUITE",
        "aro": "harness.composition.aro:SUITE",
        "valse": "harness.composition.valse:SUITE",
    },
)
