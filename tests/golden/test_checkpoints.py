"""The authors' own checkpoints, as their training scripts save them, score what the authors' code scores."""

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.cli.main import main
from harness.errors import InvalidCheckpoint
from harness.fragments import Fragments, Tokens
from harness.runs.saved_models import import_checkpoint, load_model, save_model

HERE = Path(__file__).parent
#        name                    file                         scorer  tolerance: CHAN's lse is of order 10
CASES = {
    "scan_gru": ("scan_gru.pth.tar", "scan", 1e-5),
    "chan_gru_basic": ("chan_gru_basic.pth", "chan", 1e-4),
    "chan_gru_selfattention": ("chan_gru_selfattention.pth", "chan", 1e-4),
}


def inputs(name: str) -> tuple[Fragments, Tokens, np.ndarray]:
    with np.load(HERE / f"{name}_io.npz", allow_pickle=False) as arrays:
        features, tokens = torch.from_numpy(arrays["features"]), torch.from_numpy(arrays["tokens"])
        count = features.shape[1]
        lengths = torch.from_numpy(arrays["region_lengths"]) if "region_lengths" in arrays else torch.full((6,), count)
        regions = Fragments(features, torch.arange(count) < lengths[:, None])
        words = torch.arange(tokens.shape[1]) < torch.from_numpy(arrays["lengths"])[:, None]
        return regions, Tokens(tokens, words), arrays["scores"]


@pytest.mark.parametrize("name", CASES)
def test_imported_weights_score_as_the_authors_code(name):
    file, scorer_name, tolerance = CASES[name]
    regions, tokens, expected = inputs(name)
    scorer = import_checkpoint(HERE / file, scorer_name)
    with torch.no_grad():
        scores = scorer.score(scorer.encode_images(regions), scorer.encode_texts(tokens))
    np.testing.assert_allclose(scores.numpy(), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_and_still_after_saving_and_loading(name, tmp_path):
    file, scorer_name, tolerance = CASES[name]
    regions, tokens, expected = inputs(name)
    save_model(import_checkpoint(HERE / file, scorer_name), tmp_path / "model.safetensors")
    scorer = load_model(tmp_path / "model.safetensors")
    with torch.no_grad():
        scores = scorer.score(scorer.encode_images(regions), scorer.encode_texts(tokens))
    np.testing.assert_allclose(scores.numpy(), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_and_through_the_command_line(name, tmp_path, capsys):
    file, scorer_name, tolerance = CASES[name]
    regions, tokens, expected = inputs(name)
    with pytest.raises(SystemExit) as exit_code:
        main(["import-checkpoint", scorer_name, str(HERE / file), str(tmp_path / "model.safetensors")])
    assert exit_code.value.code == 0
    assert "width 16" in capsys.readouterr().out
    scorer = load_model(tmp_path / "model.safetensors")
    with torch.no_grad():
        scores = scorer.score(scorer.encode_images(regions), scorer.encode_texts(tokens))
    np.testing.assert_allclose(scores.numpy(), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["scan", "gone.pth", "m.safetensors"], "no checkpoint at gone.pth"),
        (["scam", "gone.pth", "m.safetensors"], "did you mean 'scan'"),
        (["scan", "gone.pth", "m.pth"], "m.safetensors"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as exit_code:
        main(["import-checkpoint", *arguments])
    assert exit_code.value.code == 2
    message = capsys.readouterr().err
    assert complaint in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "scorer", "owner"), [("chan_gru_basic.pth", "scan", "chan"), ("scan_gru.pth.tar", "chan", "scan")]
)
def test_a_checkpoint_of_another_method_is_refused_by_its_options(name, scorer, owner):
    with pytest.raises(
        InvalidCheckpoint, match=f"has the options of {owner} .* and none of {scorer}; import it as {owner}"
    ):
        import_checkpoint(Path(__file__).parent / name, scorer)
