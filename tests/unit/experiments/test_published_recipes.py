"""Every built-in experiment resolves without data, and to the values that the papers and the authors' code give.

The tables are written from the publications, not from our code: SCAN's README, CHAN's train.sh, the code of VSE-infinity,
VSE++ and LAPS, and GRM's paper.
"""

from __future__ import annotations

import pytest

from harness.datasets.known import KNOWN
from harness.errors import InvalidSpec
from harness.runs import planning
from harness.runs.planning import check
from harness.settings.components import plain
from harness.spec import builtin_experiments, load_experiment

PUBLISHED = ("flickr30k_regions", "coco_regions", "flickr30k_vit", "coco_vit", "flickr30k_clip")
ROOT = "dataset.root=/nowhere"

#: What most of them share.
TRIPLET = {
    "objective": "triplet",
    "margin": 0.2,
    "schedule": "step",
    "decay_factor": 0.1,
    "gradient_clip": 2.0,
    "batch_size": 128,
    "pairs": "all",
    "warmup_steps": 0,
    "loss_ramp_epochs": 0,
}
SCAN = TRIPLET | {
    "optimizer": "adam",
    "weight_decay": 0.0,
    "all_negatives_epochs": 0,  # the hardest negative from the start
    "region_drop": 0.0,
    "word_masking": 0.0,
}
SCAN_F30K = SCAN | {"epochs": 30, "learning_rate": 2e-4, "decay_epochs": (15,)}
SCAN_COCO = SCAN | {"epochs": 20, "learning_rate": 5e-4, "decay_epochs": (10,)}
VSE_INFINITY = TRIPLET | {
    "optimizer": "adamw",
    "epochs": 25,
    "learning_rate": 5e-4,
    "decay_epochs": (15,),
    "weight_decay": 1e-4,
    "all_negatives_epochs": 1,
    "region_drop": 0.2,
    "word_masking": 0.2,
    "backbone_learning_rate_scale": 0.1,
}
CHAN_BERT = VSE_INFINITY | {"margin": 0.05}
CHAN_GRU = CHAN_BERT | {"batch_size": 384, "weight_decay": 0.01}
LAPS = TRIPLET | {
    "optimizer": "adamw",
    "epochs": 30,
    "batch_size": 64,
    "learning_rate": 2e-4,
    "backbone_learning_rate_scale": 0.1,
    "weight_decay": 1e-4,
    "decay_epochs": (9, 15, 20, 25),
    "decay_factor": 0.3,
    "all_negatives_epochs": 1,
    "loss_ramp_epochs": 1,
    "word_masking": 0.2,
    "region_drop": 0.0,
    "image_augmentation": "crop_flip",
}
REGIONS = {"name": "regions", "width": 1024, "self_attention": False}
GRU = {"name": "bigru", "width": 1024, "word_width": 300, "layers": 1, "bidirectional": True}
BERT = {"name": "transformer", "model": "bert-base-uncased", "pretrained": True}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
VIT = {
    "name": "patches",
    "architecture": "vit_base_patch16_224.orig_in21k",
    "image_size": 224,
    "width": 512,
    **IMAGENET,
}
SWIN = {
    "name": "patches",
    "architecture": "swin_base_patch4_window7_224.ms_in1k",
    "image_size": 224,
    "width": 512,
}  # ImageNet by itself


def _scan(direction: str, pooling: str, inverse_temperature: float, lse_scale: float | None) -> dict[str, object]:
    return {
        "direction": direction,
        "pooling": pooling,
        "attention_norm": "clipped_l2norm",
        "inverse_temperature": inverse_temperature,
        "lse_scale": lse_scale,
    }


def _regions(scan_training: dict[str, object], i2t_scale: float) -> dict[str, tuple[dict[str, object], ...]]:
    """Config, training, image and text of each entry."""
    bert = BERT | {"width": 1024}
    vse = {"image_mlp": "residual", "image_mlp_width": 512, "code_width": 32, "hidden_width": 32, "temperature": 0.1}
    return {
        "scan_t2i_lse": (_scan("t2i", "lse", 9.0, 6.0), scan_training, REGIONS, GRU),
        "scan_t2i_avg": (_scan("t2i", "mean", 9.0, None), scan_training, REGIONS, GRU),
        "scan_i2t_lse": (_scan("i2t", "lse", 4.0, i2t_scale), scan_training, REGIONS, GRU),
        "scan_i2t_avg": (_scan("i2t", "mean", 4.0, None), scan_training, REGIONS, GRU),
        "chan": (
            {"coding": "vha", "pooling": "lse", "temperature": 0.1},
            CHAN_GRU,
            REGIONS | {"self_attention": True, "heads": 8},
            GRU,
        ),
        "chan_bert": ({"coding": "vha", "pooling": "mean"}, CHAN_BERT, REGIONS, bert),
        "vse_infinity_gru": (vse, VSE_INFINITY, REGIONS, GRU),
        "vse_infinity_bert": (vse, VSE_INFINITY, REGIONS, bert),
        "vsepp": ({"text_pooling": "last"}, SCAN_F30K, REGIONS, GRU | {"bidirectional": False}),
    }


def _vit() -> dict[str, tuple[dict[str, object], ...]]:
    bert = BERT | {"width": 512}
    grm = {"weight_original": 0.4, "weight_salient": 0.4, "weight_uncertain": 0.2, "uncertainty": "gaussian"}
    scan = _scan("both", "mean", None, None)  # per direction: 9 and 4, the scorer's own
    chan = {"coding": "vha", "pooling": "mean"}
    return {
        "grm_vit": (grm | {"regions": 5}, LAPS, VIT, bert),
        "grm_swin": (grm | {"regions": 50}, LAPS, SWIN, bert),
        "laps_vit": ({"keep_ratio": 0.5, "aggregation_ratio": 0.4, "leaky_slope": 0.1}, LAPS, VIT, bert),
        "laps_swin": ({"keep_ratio": 0.8, "aggregation_ratio": 0.6, "leaky_slope": 0.1}, LAPS, SWIN, bert),
        "scan_vit": (scan, LAPS, VIT, bert),
        "scan_swin": (scan, LAPS, SWIN, bert),
        "chan_vit": (chan, LAPS, VIT, bert),
        "chan_swin": (chan, LAPS, SWIN, bert),
        "vse_infinity_vit": ({"image_mlp": "off", "temperature": 0.1}, LAPS, VIT, bert),
        "vse_infinity_swin": ({"image_mlp": "off", "temperature": 0.1}, LAPS, SWIN, bert),
    }


def _clip() -> dict[str, tuple[dict[str, object], ...]]:
    towers = {
        "vit_b_32_openai": ("ViT-B-32", "openai"),
        "vit_b_16_openai": ("ViT-B-16", "openai"),
        "vit_l_14_openai": ("ViT-L-14", "openai"),
        "vit_l_14_336_openai": ("ViT-L-14-336", "openai"),
        "vit_b_32_laion2b": ("ViT-B-32", "laion2b_s34b_b79k"),
        "vit_b_16_laion2b": ("ViT-B-16", "laion2b_s34b_b88k"),
        "vit_l_14_laion2b": ("ViT-L-14", "laion2b_s32b_b82k"),
    }
    named = {key: {"name": "open_clip", "model": m, "pretrained": t} for key, (m, t) in towers.items()}
    return {key: ({}, {"epochs": 0}, tower | {"output": "global"}, tower) for key, tower in named.items()}


EXPECTED = {
    "flickr30k_regions": _regions(SCAN_F30K, 5.0),
    "coco_regions": _regions(SCAN_COCO, 20.0),
    "flickr30k_vit": _vit(),
    "coco_vit": _vit(),
    "flickr30k_clip": _clip(),
}


@pytest.mark.parametrize("name", sorted(builtin_experiments()))
def test_every_experiment_resolves_without_data(name):
    experiment = load_experiment(name, [] if name == "quickstart" else [ROOT])
    drafts = check(experiment)
    assert list(drafts) == [entry.key for entry in experiment.scorers]
    assert len({draft.run_id for draft in drafts.values()}) == len(drafts), "two entries are one run"


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_are_resolved_to_the_printed_values(name):
    drafts = check(load_experiment(name, [ROOT]))
    assert list(drafts) == list(EXPECTED[name])
    for key, (config, training, image, text) in EXPECTED[name].items():
        draft = drafts[key]
        parts = {
            "config": (config, plain(draft.config)),
            "training": (training, draft.training.model_dump()),
            "image": (image, {"name": draft.image.name, **draft.image.plain}),
            "text": (text, {"name": draft.text.name, **draft.text.plain}),
        }
        for part, (expected, resolved) in parts.items():
            found = {option: resolved[option] for option in expected}
            assert found == expected, f"{name}, {key}: {part}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_experiment_says_what_it_is(name):
    experiment = load_experiment(name, [ROOT])
    assert len(experiment.seeds) == (1 if name == "flickr30k_clip" else 5)
    assert experiment.protocols == (("coco_1k", "coco_5k") if name.startswith("coco") else ("full",))
    assert all(entry.source and entry.differs for entry in experiment.scorers)
    known = KNOWN[experiment.expects]
    assert experiment.dataset.name in known.files
    options = experiment.dataset.plain
    assert options.get("max_val_images") == (1000 if name == "coco_vit" else None)
    assert options.get("validation") == ("authors" if name.endswith("_regions") else None)
    assert options.get("test_name") == ("testall" if name == "coco_regions" else None)


def test_no_caption_is_cut_where_the_authors_cut_none():
    for name in PUBLISHED[:4]:
        for draft in check(load_experiment(name, [ROOT])).values():
            longest = KNOWN[load_experiment(name, [ROOT]).expects].words[2]
            assert draft.text.plain["max_words"] >= 1.25 * longest + 2


@pytest.mark.parametrize("name", PUBLISHED)
def test_without_a_folder_one_line_says_which_files_are_needed(name):
    with pytest.raises(InvalidSpec) as error:
        check(load_experiment(name))
    line = str(error.value)
    assert "\n" not in line
    assert all(word in line for word in (name, "--set dataset.root=FOLDER", "(", f"itm plan {name}"))
    files = KNOWN[load_experiment(name).expects].files[load_experiment(name).dataset.name]
    assert all((file.path in line) == file.required for file in files)
    assert all(file.where in line for file in files if file.required)


def test_a_variant_taken_over_from_an_entry_does_not_claim_its_source():
    experiment = load_experiment(
        "flickr30k_vit", [ROOT, "scorers=[grm_vit, {key: grm_vit.hard, name: grm.hard_gates}]"]
    )
    entry, variant = experiment.scorers
    assert entry.source
    assert (variant.source, variant.differs) == ("", "")


def test_data_that_the_settings_were_not_published_for_are_warned_of(tiny, caplog):
    planning.plan(load_experiment(tiny))
    assert "published settings" not in caplog.text
    planning.plan(load_experiment({**tiny, "expects": "flickr30k"}))
    assert "published settings for flickr30k, but the data are scenes" in caplog.text
