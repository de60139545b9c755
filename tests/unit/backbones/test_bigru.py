"""The bi-directional GRU."""

import json

import pytest
import torch

from harness import backbones
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidFragments, InvalidSpec
from harness.fragments import Tokens

CAPTIONS = ["a red dog runs on the grass", "two cats", "a man", "the small blue bird sings"]


def encoder(**options):
    torch.manual_seed(0)
    component = {"name": "bigru", "width": 6, "word_width": 5, **options}
    return backbones.build_text(component, captions=CAPTIONS).eval()


def gru_direction(gru, inputs, suffix):
    """One direction of one layer, step by step from the definition of a GRU."""
    weight_in, weight_state, bias_in, bias_state = (
        getattr(gru, f"{part}_l0{suffix}") for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    state, states = torch.zeros(gru.hidden_size), []
    for x in inputs:
        r_x, z_x, n_x = (weight_in @ x + bias_in).chunk(3)
        r_h, z_h, n_h = (weight_state @ state + bias_state).chunk(3)
        reset, update = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        state = (1 - update) * torch.tanh(n_x + reset * n_h) + update * state
        states.append(state)
    return torch.stack(states)


def test_it_is_the_mean_of_two_directions_over_the_real_words():
    module = encoder()
    tokens = module.tokenizer(CAPTIONS)
    with torch.no_grad():
        got = module(tokens)
        for item, length in enumerate(tokens.lengths.tolist()):
            words = module.embedding(tokens.ids[item, :length])
            forward = gru_direction(module.gru, words, "")
            backward = gru_direction(module.gru, words.flip(0), "_reverse").flip(0)
            assert torch.allclose(got.features[item, :length], (forward + backward) / 2, atol=1e-6)
    assert torch.equal(got.mask, tokens.mask)


def test_one_direction_alone():
    module = encoder(bidirectional=False)
    tokens = module.tokenizer(CAPTIONS[:1])
    with torch.no_grad():
        expected = gru_direction(module.gru, module.embedding(tokens.ids[0]), "")
        assert torch.allclose(module(tokens).features[0], expected, atol=1e-6)


def test_embedding_starts_as_in_scan():
    weight = backbones.build_text({"name": "bigru", "width": 8}, captions=CAPTIONS).embedding.weight
    assert weight.shape[1] == 300
    assert 0.099 < weight.abs().max() <= 0.1


@pytest.mark.parametrize("layers", [1, 2])
def test_padding_and_neighbours_do_not_matter(layers):
    module = encoder(layers=layers)
    tokens = module.tokenizer(CAPTIONS)
    longer = Tokens(torch.nn.functional.pad(tokens.ids, (0, 3), value=4), torch.nn.functional.pad(tokens.mask, (0, 3)))
    whole, padded, alone = module(tokens), module(longer), module(tokens[1:2])
    length = int(tokens.lengths[1])
    assert torch.allclose(
        padded.features[:, : tokens.ids.shape[1]][tokens.mask], whole.features[tokens.mask], atol=1e-6
    )
    assert torch.allclose(alone.features[0], whole.features[1, :length], atol=1e-6)


def test_every_parameter_learns():
    module = encoder(layers=2).train()
    module(module.tokenizer(CAPTIONS)).features.square().sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_saved_tokenizer_rebuilds_the_encoder_without_the_captions():
    module = encoder()
    state = json.loads(json.dumps(module.tokenizer_state()))
    rebuilt = backbones.build_text(backbones.component_of(module), state=state).eval()
    rebuilt.load_state_dict(module.state_dict())
    captions = ["a red bird", "unheard words"]
    assert torch.equal(rebuilt(rebuilt.tokenizer(captions)).features, module(module.tokenizer(captions)).features)


def test_a_vocabulary_file_takes_the_place_of_captions(tmp_path):
    Vocabulary.from_captions(["only these words"]).save(tmp_path / "v.json")
    module = backbones.build_text("bigru", captions=CAPTIONS, vocabulary=tmp_path / "v.json")
    assert module.embedding.num_embeddings == 5 + 3


def test_neither_captions_nor_vocabulary_is_refused():
    with pytest.raises(InvalidSpec, match="training captions"):
        backbones.build_text("bigru")


@pytest.mark.parametrize(
    ("mask", "complaint"), [([[True, False, True]], "padding before"), ([[False, False, False]], "without any token")]
)
def test_masks_that_are_no_prefix_are_refused(mask, complaint):
    with pytest.raises(InvalidFragments, match=complaint):
        encoder()(Tokens(torch.zeros(1, 3, dtype=torch.long), torch.tensor(mask)))
