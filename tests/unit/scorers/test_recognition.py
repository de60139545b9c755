"""Checkpoints of methods that cannot be imported are named for what they are, in one line, and never executed."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.cli.main import main

REGIONS = {"fc.weight": torch.zeros(2, 3), "fc.bias": torch.zeros(2)}
WORDS = {"embed.weight": torch.zeros(4, 2), "rnn.weight_hh_l0": torch.zeros(6, 2)}
GPO = {"gpool.linear.weight": torch.zeros(1, 2)}
AGGR = {"aggr.layers.0.norm1.weight": torch.zeros(2)}
VIT = {"img_enc.visual_encoder.embeddings.cls_token": torch.zeros(1), "txt_enc.bert.pooler.dense.bias": torch.zeros(1)}


def saved(model, **options):
    """As the authors' training scripts save a model; the best rSum is a numpy number."""
    opt = argparse.Namespace(**options) if options else None
    return {"model": model, "epoch": 27, "best_rsum": np.float64(488.24), "Eiters": 9, "opt": opt}


def graph(**tensors):
    return {f"{name}.weight": torch.zeros(1) for name in ("sim_tranloc_w", "sim_eval_w", *tensors)}


SGR, SAF = graph(**{"SGR_module.0.graph_query_w": 1}), graph(**{"SAF_module.attn_sim_w": 1})
NO_SCORER = "itm has no scorer for it"
CASES = {
    "SGRAF, graph": (
        saved([REGIONS, WORDS, SGR], data_name="f30k_precomp", module_name="SGR"),
        "is an SGRAF checkpoint (three parts: image, text, similarity graph; epoch 27, best rsum 488.2, data f30k_precomp); "
        + NO_SCORER,
    ),
    "SGRAF, filtration": (
        saved([REGIONS, WORDS, SAF], data_name="coco_precomp"),
        "an SGRAF checkpoint (three parts: image, text, similarity attention filtration; epoch 27",
    ),
    "HREM": (saved([REGIONS | AGGR, AGGR], dataset="f30k"), "is an HREM checkpoint (two parts: image, text; epoch 27"),
    "VSE-infinity": (
        saved([REGIONS | GPO, GPO], data_name="f30k"),
        "is a VSE-infinity checkpoint (two parts: image, text; epoch 27, best rsum 488.2, data f30k); itm has the scorer "
        "vse_infinity but cannot read these weights",
    ),
    "VSE-infinity on grids": (
        saved([{f"image_encoder.{name}": value for name, value in GPO.items()}, GPO]),
        "is a VSE-infinity checkpoint (two parts: image, text; epoch 27, best rsum 488.2); ",
    ),
    "VSE++": (saved([REGIONS, WORDS], measure="cosine", use_abs=False), "is a VSE++ checkpoint"),
    "LAPS": (
        saved(VIT | {"cross_net.aggr_net.scale": torch.ones(1, 1, 1)}, dataset="f30k"),
        "is a LAPS checkpoint (one part: the whole model; epoch 27, best rsum 488.2, data f30k); itm has the scorer laps",
    ),
    "LAPS on several GPUs": (saved({"module.cross_net.aggr_net.scale": torch.ones(1)}), "is a LAPS checkpoint"),
    "AVSE": (saved(VIT | {"sim_enc.weight": torch.zeros(1)}, dataset="coco"), f"data coco); {NO_SCORER}"),
    "D2S-VSE": (saved(VIT | {"prompt_learner.prompt_tokens": torch.zeros(1)}), "is a D2S-VSE checkpoint"),
    "a descendant": (saved(VIT), "is a checkpoint of LAPS's training script or one of its descendants"),
    "four parts": (saved([REGIONS, WORDS, REGIONS, WORDS]), "is a checkpoint of another method (four parts; epoch 27"),
}


def refusal(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("asked", ["scan", "laps", "sgraf"])
def test_it_is_named_whatever_it_was_taken_for(name, asked, tmp_path: Path, capsys):
    content, expected = CASES[name]
    torch.save(content, tmp_path / "model_best.pth.tar")
    message = refusal(capsys, "import-checkpoint", asked, tmp_path / "model_best.pth.tar", tmp_path / "m.safetensors")
    assert expected in message
    assert "give them to `itm evaluate`" in message
    assert not (tmp_path / "m.safetensors").exists()


def test_an_unknown_scorer_is_still_complained_about(tmp_path, capsys):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    assert "did you mean 'scan'" in refusal(
        capsys, "import-checkpoint", "scam", tmp_path / "w.pth", tmp_path / "m.safetensors"
    )


def test_code_in_a_third_part_is_refused(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return eval, ("1",)

    torch.save(saved([REGIONS, WORDS, {"x": Evil()}]), tmp_path / "w.pth")
    message = refusal(capsys, "import-checkpoint", "scan", tmp_path / "w.pth", tmp_path / "m.safetensors")
    assert "no pickled code is ever executed" in message


def test_an_options_value_cannot_break_the_line(tmp_path, capsys):
    torch.save(saved([REGIONS, WORDS, SGR], data_name="a\nb" * 50), tmp_path / "w.pth")
    message = refusal(capsys, "import-checkpoint", "scan", tmp_path / "w.pth", tmp_path / "m.safetensors")
    assert "data a ba b" in message
