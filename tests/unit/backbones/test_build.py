"""Backbones by name."""

import subprocess
import sys

import pytest

from harness import backbones
from harness.errors import InvalidSpec, UnknownName
from harness.spec import Component

ALL = [("image", name) for name in backbones.IMAGE_BACKBONES] + [("text", name) for name in backbones.TEXT_BACKBONES]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_resolving_fills_every_default_and_changes_nothing_the_second_time(kind, name):
    resolved = backbones.resolve(kind, name)
    assert resolved.name == name
    assert "width" in resolved.options
    assert backbones.resolve(kind, resolved) == resolved


def test_all_backbones_that_take_a_width_share_the_default():
    widths = {backbones.resolve(kind, name).options["width"] for kind, name in ALL if name != "open_clip"}
    assert len(widths) == 1


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(UnknownName, match="did you mean 'bigru'"):
        backbones.resolve("text", "bigr")
    with pytest.raises(UnknownName, match="unknown image backbone 'bigru'"):
        backbones.resolve("image", "bigru")


def test_unknown_options_are_answered_with_the_nearest():
    with pytest.raises(InvalidSpec, match="image backbone regions: unknown key 'widht'; did you mean 'width'"):
        backbones.resolve("image", {"name": "regions", "widht": 3})


def test_a_built_encoder_knows_its_component():
    component = {"name": "regions", "width": 32}
    encoder = backbones.build_image(component, region_width=4)
    assert backbones.component_of(encoder) == backbones.resolve("image", component)


def test_widths_that_differ_are_refused_with_the_remedy():
    image = backbones.build_image({"name": "regions", "width": 8}, region_width=4)
    text = backbones.build_text({"name": "bigru", "width": 16}, captions=["a"])
    with pytest.raises(InvalidSpec, match=r"width 8 but text backbone bigru of width 16.*image\.width=16"):
        backbones.check_widths(image, text)


def test_strings_mappings_and_components_are_the_same():
    assert backbones.resolve("text", "bigru") == backbones.resolve("text", Component(name="bigru"))


def test_importing_the_package_imports_no_torch():
    code = "import sys, harness.backbones; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
