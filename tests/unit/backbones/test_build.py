"""Backbones by name."""

import subprocess
import sys

import pytest

from harness import backbones
from harness.backbones import BACKBONES
from harness.errors import InvalidSpec, UnknownName
from harness.spec import Component

ALL = [(parts, name) for parts in BACKBONES.values() for name in parts]


@pytest.mark.parametrize(("parts", "name"), ALL)
def test_resolving_fills_every_default_and_changes_nothing_the_second_time(parts, name):
    resolved = parts.resolve(name)
    assert resolved.name == name
    assert ("width" in resolved.plain) == (name != "blip")  # BLIP's reader takes the widths of its own model
    assert parts.resolve(resolved) is resolved


def test_all_backbones_that_take_a_width_share_the_default():
    widths = {parts.resolve(name).options.width for parts, name in ALL if name not in ("open_clip", "blip")}
    assert len(widths) == 1


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(UnknownName, match="did you mean 'bigru'"):
        BACKBONES["text"].resolve("bigr")
    with pytest.raises(UnknownName, match="unknown image backbone 'bigru'"):
        BACKBONES["image"].resolve("bigru")


def test_unknown_options_are_answered_with_the_nearest():
    with pytest.raises(InvalidSpec, match="image backbone regions: unknown key 'widht'; did you mean 'width'"):
        BACKBONES["image"].resolve({"name": "regions", "widht": 3})


def test_a_built_encoder_knows_its_component():
    component = {"name": "regions", "width": 32}
    encoder = backbones.build_image(component, region_width=4)
    assert backbones.component_of(encoder) == BACKBONES["image"].resolve(component)


def test_strings_mappings_and_components_are_the_same():
    assert BACKBONES["text"].resolve("bigru") == BACKBONES["text"].resolve(Component(name="bigru"))


def test_importing_the_package_imports_no_torch():
    code = "import sys, harness.backbones; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
