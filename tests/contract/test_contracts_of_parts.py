"""The contract suites of datasets and backbones: on what the harness brings, and on doubles that break one rule each."""

import backbone_doubles
import dataset_doubles
import metric_doubles
import protocol_doubles
import pytest
import section_doubles
from backbone_doubles import GOOD, GoodText

from harness.conformance import backbones, check_part, datasets, metrics, protocols, sections
from harness.conformance.outcomes import outcomes
from harness.errors import InvalidProtocol, InvalidSpec, UnknownName


def dataset_outcomes(make, **options):
    subject = datasets.Subject(make, options)
    return outcomes(datasets.RULES, lambda: subject)


def backbone_outcomes(cls):
    config = cls.Config()
    if issubclass(cls, GoodText):
        subject = backbones.Subject(
            "text",
            lambda: cls.fresh(config, backbones.CAPTIONS, None),
            lambda encoder: cls.restored(config, backbones.json_round_trip(encoder.tokenizer_state())),
        )
    else:
        subject = backbones.Subject(
            "image", lambda: cls(config, backbones.REGION_WIDTH), lambda _: cls(config, backbones.REGION_WIDTH)
        )
    return outcomes(backbones.RULES, lambda: subject)


def broken(results):
    return [f"{result.name}: {result.detail}" for result in results if not result.passed]


def caught(results, rule):
    (found,) = (result for result in results if result.name == rule)
    assert not found.passed
    assert ("expected" in found.detail and "found" in found.detail) or "raised" in found.detail
    assert "\n" not in found.detail


def doubles(broken):
    return [pytest.param(rule, cls, id=f"{rule}-{cls.__name__}") for rule in broken for cls in broken[rule]]


def in_a_folder(cls, tmp_path):
    """Opens a double whose file lies in its root, above it, and behind a link that leaves it."""
    root = tmp_path / "root"
    root.mkdir()
    for file in (root / "brightness.txt", tmp_path / "brightness.txt"):
        file.write_text("5")
    (root / "link.txt").symlink_to(tmp_path / "brightness.txt")

    def make():
        found = cls()
        found.root = root
        return found

    return make, str(root)


# Datasets -----------------------------------------------------------------------------------------------------------


def test_a_dataset_that_keeps_every_rule_passes(tmp_path):
    assert broken(dataset_outcomes(dataset_doubles.Good)) == []
    make, root = in_a_folder(dataset_doubles.InAFolder, tmp_path)
    assert broken(dataset_outcomes(make, root=root)) == []


@pytest.mark.parametrize(("rule", "double"), doubles(dataset_doubles.BROKEN))
def test_a_broken_rule_of_datasets_is_caught(rule, double, tmp_path):
    if rule == "root":
        make, root = in_a_folder(double, tmp_path)
        caught(dataset_outcomes(make, root=root), rule)
    else:
        caught(dataset_outcomes(double), rule)


def test_every_rule_of_datasets_has_a_double():
    assert sorted(dataset_doubles.BROKEN) == sorted(datasets.RULES)


def test_the_generated_dataset_keeps_the_rules():
    small = {"train_images": 12, "val_images": 4, "test_images": 6, "image_size": 24}
    assert check_part("dataset", "scenes", small).broken == []


# Backbones ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", GOOD)
def test_a_backbone_that_keeps_every_rule_passes(cls):
    assert broken(backbone_outcomes(cls)) == []


@pytest.mark.parametrize(("rule", "double"), doubles(backbone_doubles.BROKEN))
def test_a_broken_rule_of_backbones_is_caught(rule, double):
    caught(backbone_outcomes(double), rule)


def test_every_rule_of_backbones_has_a_double():
    assert sorted(backbone_doubles.BROKEN) == sorted(backbones.RULES)


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("image backbone", "regions", {"width": 16}),
        ("image backbone", "regions", {"width": 16, "self_attention": True, "heads": 2}),
        ("image backbone", "patches", {"width": 16, "image_size": 16, "patch_size": 8, "channels": 8}),
        ("image backbone", "patches", {"width": 16, "architecture": "small_vit", "image_size": 16, "channels": 8}),
        ("image backbone", "open_clip", {}),
        ("text backbone", "bigru", {"width": 16, "word_width": 8}),
        ("text backbone", "open_clip", {}),
        ("text backbone", "transformer", {}),
    ],
)
def test_the_backbones_of_the_harness_keep_the_rules(kind, name, options):
    assert check_part(kind, name, options).broken == []


def test_chans_attention_to_padding_is_found():
    """The authors' weights need it, and the rules say what it costs."""
    options = {"width": 16, "self_attention": True, "heads": 2, "attend_to_padding": True}
    assert "padding" in [result.name for result in check_part("image backbone", "regions", options).broken]


def test_unknown_parts_and_options_are_bad_input():
    with pytest.raises(UnknownName, match="did you mean 'scenes'"):
        check_part("dataset", "scene")
    with pytest.raises(InvalidSpec, match="did you mean 'width'"):
        check_part("text backbone", "bigru", {"widht": 3})


# Protocols ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["full", "flickr30k_1k", "scenes_relevance"])
def test_the_protocols_of_the_harness_keep_the_rules(name):
    assert check_part("protocol", name).broken == []


def test_a_protocol_that_needs_files_says_that_it_cannot_be_checked():
    with pytest.raises(InvalidProtocol, match="protocol human cannot be checked on generated data"):
        check_part("protocol", "human")


@pytest.mark.parametrize(("rule", "double"), doubles(protocol_doubles.BROKEN))
def test_a_broken_rule_of_protocols_is_caught(rule, double):
    subject = protocols.subject(protocol_doubles.made(double))
    caught(outcomes(protocols.RULES, lambda: subject), rule)


def test_every_rule_of_protocols_has_a_double():
    assert sorted(protocol_doubles.BROKEN) == sorted(protocols.RULES)


def test_a_part_without_options_takes_none():
    with pytest.raises(InvalidSpec, match="'full' takes no options, got width"):
        check_part("protocol", "full", {"width": 3})


# Metrics ------------------------------------------------------------------------------------------------------------


def test_the_metrics_of_the_harness_keep_the_rules():
    assert check_part("metric", "mrr").broken == []


@pytest.mark.parametrize(("rule", "double"), doubles(metric_doubles.BROKEN))
def test_a_broken_rule_of_metrics_is_caught(rule, double):
    caught(outcomes(metrics.RULES, lambda: metrics.Subject(double)), rule)


def test_every_rule_of_metrics_has_a_double():
    assert sorted(metric_doubles.BROKEN) == sorted(metrics.RULES)


def test_a_sound_section_keeps_the_rules():
    results = outcomes(sections.RULES, lambda: sections.Subject("sound", section_doubles.Sound))
    assert [result for result in results if not result.passed] == []


@pytest.mark.parametrize(("rule", "double"), doubles(section_doubles.BROKEN))
def test_a_broken_rule_of_sections_is_caught(rule, double):
    caught(outcomes(sections.RULES, lambda: sections.Subject("broken", double)), rule)


def test_every_rule_of_sections_has_a_double():
    assert sorted(section_doubles.BROKEN) == sorted(sections.RULES)
