"""Attention, against the formulas written out."""

from __future__ import annotations

import math

import torch
from zoo_gigagan.attention import SelfAttention
from zoo_gigagan.text_to_image.layers import CrossAttention
from zoo_gigagan.text_to_image.text import TextEmbedding


def normalized(x):
    return x / x.square().mean(1, keepdim=True).sqrt()


def test_self_attention_uses_l2_distances():
    torch.manual_seed(0)
    attention = SelfAttention(8, 2).double()
    torch.nn.init.ones_(attention.gain)
    x = torch.randn(3, 8, 4, 4, dtype=torch.float64)
    q = attention.to_qk(normalized(x)).reshape(3, 2, 4, 16).transpose(2, 3)
    v = attention.to_v(normalized(x)).reshape(3, 2, 4, 16).transpose(2, 3)
    weights = (-torch.cdist(q, q).square() / math.sqrt(4)).softmax(3)
    expected = x + attention.to_out((weights @ v).transpose(2, 3).reshape(3, 8, 4, 4))
    assert torch.allclose(attention(x), expected, atol=1e-12)


def test_cross_attention_ignores_padding():
    torch.manual_seed(0)
    attention = CrossAttention(8, 2, 6)
    torch.nn.init.ones_(attention.gain)
    x, words = torch.randn(2, 8, 4, 4), torch.randn(2, 5, 6)
    bias = torch.tensor([[0.0] * 3 + [-torch.inf] * 2] * 2)
    attended = attention(x, TextEmbedding(words, bias, words[:, 0]))
    other = words.clone()
    other[:, 3:] = 7
    assert torch.equal(attended, attention(x, TextEmbedding(other, bias, words[:, 0])))
    assert not torch.allclose(attended, attention(x, TextEmbedding(words.flip(0), bias, words[:, 0])))
    one = attention(x, TextEmbedding(words, bias.masked_fill(torch.arange(5) > 0, -torch.inf), words[:, 0]))
    value = attention.to_kv(words[:, 0])[:, 8:]
    assert torch.allclose(one, x + attention.to_out(value[:, :, None, None].expand_as(x)), atol=1e-5)


def test_both_are_the_identity_before_training():
    x, words = torch.randn(2, 8, 4, 4), torch.randn(2, 5, 6)
    assert torch.equal(SelfAttention(8, 2)(x), x)
    assert torch.equal(CrossAttention(8, 2, 6)(x, TextEmbedding(words, torch.zeros(2, 5), words[:, 0])), x)
