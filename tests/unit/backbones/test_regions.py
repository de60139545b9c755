"""The backbone on region features."""

import pytest
import torch
from torch import nn

from harness import backbones
from harness.errors import InvalidFragments, InvalidSpec
from harness.fragments import Fragments

RAW = 12


def encoder(**options):
    torch.manual_seed(0)
    return backbones.build_image({"name": "regions", "width": 16, **options}, region_width=RAW).eval()


def raw_regions(seed=0, items=4, regions=7):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([7, 3, 1, 5])[:items]
    return Fragments(torch.randn(items, regions, RAW, generator=generator), torch.arange(regions) < lengths[:, None])


def test_it_is_the_linear_layer_of_scan():
    module = encoder()
    raw = raw_regions()
    expected = raw.features @ module.linear.weight.T + module.linear.bias
    assert torch.allclose(module(raw).features, expected, atol=1e-6)
    bound = (6 / (RAW + 16)) ** 0.5
    assert 0.9 * bound < module.linear.weight.abs().max() <= bound
    assert not module.linear.bias.any()


def test_self_attention_equals_a_loop_over_images_and_heads():
    module = encoder(self_attention=True, heads=4)
    nn.init.normal_(module.context.norm.weight)
    nn.init.normal_(module.context.attention.in_proj_bias)
    raw = raw_regions()
    got = module(raw).features
    attention = module.context.attention
    for image, length in enumerate(raw.lengths.tolist()):
        x = module.linear(raw.features[image, :length])
        normed = (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        normed = normed * module.context.norm.weight + module.context.norm.bias
        q, k, v = (normed @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=1)
        heads = []
        for h in range(4):
            part = slice(4 * h, 4 * h + 4)
            weights = torch.softmax(q[:, part] @ k[:, part].T / 4**0.5, dim=1)
            heads.append(weights @ v[:, part])
        expected = x + torch.cat(heads, dim=1) @ attention.out_proj.weight.T + attention.out_proj.bias
        assert torch.allclose(got[image, :length], expected, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"self_attention": True}], ids=["linear", "self_attention"])
def test_padding_and_neighbours_do_not_matter(options):
    module = encoder(**options)
    raw = raw_regions()
    other = Fragments(torch.where(raw.mask[..., None], raw.features, torch.tensor(1e3)), raw.mask)
    whole, changed, alone = module(raw), module(other), module(raw[1:2].trimmed())
    assert torch.allclose(whole.features[whole.mask], changed.features[whole.mask], atol=1e-6)
    assert torch.allclose(whole.features[1, :3], alone.features[0], atol=1e-6)


def test_the_authors_attention_sees_the_padding():
    module = encoder(self_attention=True, attend_to_padding=True)
    raw = raw_regions()
    other = Fragments(torch.where(raw.mask[..., None], raw.features, torch.tensor(5.0)), raw.mask)
    assert not torch.allclose(module(raw).features[1, :3], module(other).features[1, :3], atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"self_attention": True}], ids=["linear", "self_attention"])
def test_every_parameter_learns(options):
    module = encoder(**options).train()
    module(raw_regions()).features.square().sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_dataset_without_regions_is_refused():
    with pytest.raises(InvalidSpec, match="patches or open_clip"):
        backbones.build_image("regions", region_width=0)


@pytest.mark.parametrize("batch", [torch.zeros(2, 3, RAW), Fragments(torch.zeros(1, 1, 5), torch.ones(1, 1).bool())])
def test_other_input_is_refused(batch):
    with pytest.raises(InvalidFragments, match="width 12"):
        encoder()(batch)


def test_heads_must_divide_the_width():
    with pytest.raises(InvalidSpec, match="multiple of heads"):
        encoder(self_attention=True, heads=5)
