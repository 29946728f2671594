"""LlamaGen's transformer: golden logits and codes, guidance, sizes read from shapes, and other files."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo_gpt.llamagen import transformer as llamagen
from zoo_gpt.network.transformer import Transformer

from zoo_core import WeightsError, classifier_free_guidance

SIDE, HEADS, CODES = 4, 4, 64
NULL = 10


@pytest.fixture
def case(golden):
    return golden("llamagen_c2i_gpt")


@pytest.fixture
def transformer(case):
    return llamagen.read(case.under("weights/"), SIDE, "golden", HEADS)


def bound(case, name):
    """Return 15 times the reference's own rounding error, relative to the largest value."""
    largest = case.about["max_abs_of_outputs"][name]
    return 15 * case.about["tolerance_observed"]["max_abs_diff_float32_vs_float64"][name] / largest


def teacher_forced(case, transformer: Transformer, labels: Tensor) -> Tensor:
    return transformer(torch.cat([CODES + labels[:, None], case["inputs/tokens"]], dim=1))


def greedy(transformer: Transformer, labels: Tensor, **guidance: float) -> tuple[Tensor, Tensor]:
    """Return greedy codes (n, length) and their logits (n, length, vocab)."""
    seen: list[Tensor] = []

    def sample(logits: Tensor) -> Tensor:
        seen.append(logits)
        return logits.argmax(-1)

    codes = torch.stack(list(llamagen.sample_codes(transformer, labels.tolist(), sample, **guidance)), dim=1)
    return codes, torch.stack(seen, dim=1)


@torch.inference_mode()
def test_logits_and_every_layer_match_the_golden_case(case, transformer, relative_error):
    layers: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda *a: layers.append(a[2])) for block in transformer.blocks]
    labels = case["inputs/cls_ids"]

    conditional = teacher_forced(case, transformer, labels)
    for hook in hooks:
        hook.remove()
    unconditional = teacher_forced(case, transformer, torch.full_like(labels, NULL))
    guided = classifier_free_guidance(conditional, unconditional, 2.0)

    assert relative_error(torch.stack(layers), case["intermediates/layer_outputs_cond"]) < 2e-5
    for name, ours in {
        "logits_cond": conditional,
        "logits_uncond": unconditional,
        "logits_cfg2.0": guided,
    }.items():
        assert relative_error(ours, case[f"outputs/{name}"]) <= bound(case, name), name


@torch.inference_mode()
def test_float64_differs_by_no_more_than_the_rounding_of_float32(case, transformer, relative_error):
    logits = teacher_forced(case, transformer.double(), case["inputs/cls_ids"])

    assert logits.dtype == torch.float64
    assert relative_error(logits, case["outputs/logits_cond"]) <= bound(case, "logits_cond") / 10


def test_the_rotary_table_matches_the_golden_case_and_is_zero_at_the_class(case, transformer, relative_error):
    cos, sin = transformer.config.rope.rotation(torch.arange(1 + SIDE**2))

    assert relative_error(torch.stack([cos, sin], dim=-1), case["intermediates/freqs_cis"]) < 1e-6
    assert not cos[0].any()
    assert not sin[0].any()


@pytest.mark.parametrize(
    ("name", "guidance"),
    [
        ("cfg1.0", {}),
        ("cfg2.0", {"scale": 2.0}),
        # The reference's interval counts from the code after the first, and includes its end.
        ("cfg4.0_interval5", {"scale": 4.0, "guided_codes": 5 + 2}),
    ],
)
@torch.inference_mode()
def test_greedy_codes_match_the_golden_case(case, transformer, relative_error, name, guidance):
    codes, logits = greedy(transformer, case["inputs/cls_ids"], **guidance)

    assert torch.equal(codes, case[f"outputs/greedy_ids_{name}"])
    assert relative_error(logits, case[f"outputs/greedy_step_logits_{name}"]) < 2e-5


@torch.inference_mode()
def test_an_image_is_the_same_alone_and_in_a_batch(case, transformer):
    both, _ = greedy(transformer, case["inputs/cls_ids"], scale=2.0)
    alone, _ = greedy(transformer, case["inputs/cls_ids"][1:], scale=2.0)

    assert torch.equal(both[1:], alone)


def published(width: int, layers: int, mlp_width: int) -> dict[str, Tensor]:
    """Return tensors on the meta device with the names and shapes of a published file."""
    shapes = {
        "tok_embeddings.weight": (16384, width),
        "cls_embedding.embedding_table.weight": (1001, width),
        "norm.weight": (width,),
        "output.weight": (16384, width),
    }
    for i in range(layers):
        shapes |= {
            f"layers.{i}.attention_norm.weight": (width,),
            f"layers.{i}.attention.wqkv.weight": (3 * width, width),
            f"layers.{i}.attention.wo.weight": (width, width),
            f"layers.{i}.ffn_norm.weight": (width,),
            f"layers.{i}.feed_forward.w1.weight": (mlp_width, width),
            f"layers.{i}.feed_forward.w2.weight": (width, mlp_width),
            f"layers.{i}.feed_forward.w3.weight": (mlp_width, width),
        }
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("name", "width", "layers", "mlp_width", "heads", "millions"),
    [
        ("B", 768, 12, 2048, 12, 111),
        ("L", 1024, 24, 2816, 16, 343),
        ("XL", 1280, 36, 3584, 20, 775),
        ("XXL", 1536, 48, 4096, 24, 1411),
        ("3B", 3200, 24, 8704, 32, 3097),
    ],
)
def test_the_published_sizes_follow_from_their_shapes(name, width, layers, mlp_width, heads, millions):
    tensors = published(width, layers, mlp_width)

    config = llamagen.transformer_config(tensors, 24, name)
    with torch.device("meta"):
        state = Transformer(config).state_dict()
    ours = llamagen.from_published(tensors, config)

    assert (config.layers, config.heads, config.heads * config.head_dim) == (layers, heads, width)
    assert (config.vocab_out, llamagen.count_classes(config), config.context) == (16384, 1000, 1 + 24**2)
    assert {k: t.shape for k, t in ours.items()} == {k: t.shape for k, t in state.items()}
    assert round(sum(t.numel() for t in state.values()) / 1e6) == millions


def test_the_rotary_table_in_some_published_files_is_ignored(case):
    tensors = case.under("weights/") | {"freqs_cis": torch.zeros(17, 4, 2)}

    assert isinstance(llamagen.read(tensors, SIDE, "golden", HEADS), Transformer)


def test_other_tensors_are_refused_with_the_reason(case):
    tensors = case.under("weights/")
    with pytest.raises(WeightsError, match=r"gpt2.pt is not a .*: it has no tok_embeddings.weight"):
        llamagen.read({"wte.weight": torch.zeros(4, 4)}, SIDE, "gpt2.pt")
    with pytest.raises(WeightsError, match="32 channels wide, unlike every published size"):
        llamagen.read(tensors, SIDE, "narrow")
    short = {k: t for k, t in tensors.items() if k != "layers.1.feed_forward.w2.weight"}
    with pytest.raises(WeightsError, match=r"lacks blocks.1.mlp.down.weight"):
        llamagen.read(short, SIDE, "short", HEADS)
    with pytest.raises(WeightsError, match=r"has caption.weight too many"):
        llamagen.read(tensors | {"caption.weight": torch.zeros(1)}, SIDE, "text to image", HEADS)
