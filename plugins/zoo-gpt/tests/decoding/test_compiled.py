"""The compiled step: the same results as the plain network, whatever the batch, for every type of weights."""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from zoo_gpt.decoding.compiled import COMPUTED, CompiledTransformer, converter, why_not
from zoo_gpt.decoding.decode import decode
from zoo_gpt.decoding.inference import optimize_for_inference
from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.checkpoint import load_transformer
from zoo_gpt.network.config import ExpertsConfig, TransformerConfig
from zoo_gpt.network.rope import GridRope, Rope
from zoo_gpt.network.transformer import Transformer, initialise

from tools.text.random_models import GPT2, LLAMA, NEO, NEOX, VOCAB
from zoo_core import Checkpoint, OptionError, ZooNote
from zoo_core.kernels import quantise, why_not_compiled

pytestmark = pytest.mark.skipif(
    why_not_compiled() is not None, reason=f"no compiled step: {why_not_compiled()}"
)

CPU = torch.device("cpu")
ERRORS = {
    torch.float32: 1e-5,
    torch.float16: 3e-3,
    torch.bfloat16: 2e-2,
    torch.int8: 4e-2,
    torch.int4: 4e-2,
}
"""Largest error of a logit beside the largest logit, by the type of weights, for small random networks.

Of int4 the same weights, rounded to 4 bits, are expected: what rounding them costs depends on the network."""
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHeadModel", GPT2),
    "gpt2, odd sizes": ("GPT2LMHeadModel", GPT2 | {"n_embd": 60, "n_inner": 52}),
    "gpt_neo": ("GPTNeoForCausalLM", NEO),
    "gpt_neox": ("GPTNeoXForCausalLM", NEOX),
    "gpt_neox, sequential": ("GPTNeoXForCausalLM", NEOX | {"use_parallel_residual": False}),
    "llama, heads of 64": (
        "LlamaForCausalLM",
        LLAMA | {"head_dim": 64, "attention_bias": True, "tie_word_embeddings": True},
    ),
    "mistral": ("MistralForCausalLM", LLAMA | {"sliding_window": 16}),
    "qwen2": ("Qwen2ForCausalLM", LLAMA),
    "qwen3": ("Qwen3ForCausalLM", LLAMA | {"head_dim": 16}),
    "phi": ("PhiForCausalLM", NEOX | {"qk_layernorm": True}),
    "gemma": ("GemmaForCausalLM", LLAMA | {"head_dim": 16}),
    "gemma 2": (
        "Gemma2ForCausalLM",
        LLAMA
        | {"head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 9}
        # Small enough to change these scores and logits.
        | {"attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.0},
    ),
    "gemma 3": (
        "Gemma3ForCausalLM",
        LLAMA
        | {"head_dim": 16, "num_hidden_layers": 4, "sliding_window": 16}
        | {"layer_types": ["sliding_attention", "full_attention"] * 2}
        | {
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            }
        },
    ),
    "granite": (
        "GraniteForCausalLM",
        LLAMA | {"embedding_multiplier": 3.0, "logits_scaling": 4.0, "residual_multiplier": 0.4},
    ),
    "olmo 2": ("Olmo2ForCausalLM", LLAMA),
    "smollm 3": ("SmolLM3ForCausalLM", LLAMA | {"num_hidden_layers": 4, "pad_token_id": 0}),
    "stablelm": ("StableLmForCausalLM", LLAMA | {"use_qkv_bias": True, "hidden_size": 96}),
    "stablelm 2 12b": (
        "StableLmForCausalLM",
        LLAMA | {"qk_layernorm": True, "use_parallel_residual": True, "hidden_size": 96},
    ),
    "phi 3, longrope": (
        "Phi3ForCausalLM",
        LLAMA
        | {"original_max_position_embeddings": 24, "pad_token_id": 0}
        | {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "short_factor": [1.0, 1.1, 1.2, 1.3],
                "long_factor": [1.5, 2.0, 3.0, 4.0],
            }
        },
    ),
    "llama, dynamic": (
        "LlamaForCausalLM",
        LLAMA
        | {"max_position_embeddings": 24}
        | {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}},
    ),
    "imagegpt": ("ImageGPTForCausalImageModeling", GPT2),
}


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Checkpoint]:
    """A random model of transformers, and what it saved."""
    name, options = MODELS[request.param]
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    theirs = kind(kind.config_class(vocab_size=VOCAB, **options)).eval()
    theirs.set_attn_implementation("eager")  # the only one with soft caps
    for parameter in theirs.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("model")
    theirs.save_pretrained(folder)
    return theirs, read_folder(folder)


def read_folder(folder: Path) -> Checkpoint:
    return Checkpoint(source=str(folder), files={path.name: path for path in folder.iterdir()}, digest="")


def compiled(checkpoint: Checkpoint, dtype: torch.dtype) -> CompiledTransformer:
    network = optimize_for_inference(load_transformer(checkpoint), device=CPU, dtype=dtype)
    assert isinstance(network, CompiledTransformer)
    return network


def greedy(network: Transformer, prompts: list[list[int]], steps: int) -> Tensor:
    return torch.stack(list(decode(network, prompts, steps, lambda logits: logits.argmax(-1))), dim=1)


@torch.inference_mode()
def test_float32_writes_the_same_greedy_text_as_transformers(pair):
    theirs, checkpoint = pair
    expected = torch.randint(VOCAB - 1, (3, 7), generator=torch.Generator().manual_seed(1))
    prompts = expected.tolist()
    for _ in range(64):
        expected = torch.cat([expected, theirs(expected, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(greedy(compiled(checkpoint, torch.float32), prompts, 64), expected[:, 7:])


def rounded_to_4_bits(network: Transformer) -> Transformer:
    """Round all matrices as the compiled step does, but not the embedding of the input."""
    if network.head is None:
        weight = network.embedding.weight[: network.config.vocab_out].clone()
        network.head = nn.Linear(weight.shape[1], len(weight), bias=False)
        network.head.weight.data = weight
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.weight.data = quantise(module.weight, 4).dequantised()[:, : module.in_features]
    return network


@pytest.mark.parametrize("dtype", ERRORS)
@torch.inference_mode()
def test_a_row_depends_on_nothing_but_its_own_tokens(pair, dtype):
    theirs, checkpoint = pair
    network = compiled(checkpoint, dtype)
    tokens = torch.randint(VOCAB - 1, (5, 33), generator=torch.Generator().manual_seed(2))
    theirs(tokens[:, :1])  # dynamic ropes remember the longest sequence until they read a short one
    found = network(tokens)
    if dtype == torch.int4:
        expected = rounded_to_4_bits(load_transformer(checkpoint))(tokens)
    else:
        expected = theirs(tokens, use_cache=False).logits
    assert float((found - expected).abs().max() / expected.abs().max()) < ERRORS[dtype]

    assert torch.equal(network(tokens[1:2])[0], found[1]), "alone"
    if not any(isinstance(rope, Rope) and rope.depends_on_length for rope in network.ropes):
        cache = KVCache(network.config, 5, 33, CPU, torch.float32)
        one_by_one = [network.next_logits(tokens[:, at : at + 1], cache) for at in range(33)]
        assert torch.equal(torch.stack(one_by_one, dim=1), found), "cached"

    prompts = [list(range(3, 3 + length)) for length in (9, 1, 4)]
    alone = torch.cat([greedy(network, [prompt], 20) for prompt in prompts])
    assert torch.equal(greedy(network, prompts, 20), alone), "padded"


@torch.inference_mode()
def test_a_grid_rope_is_computed():
    config = TransformerConfig(
        vocab_size=40,
        vocab_out=30,
        width=32,
        layers=2,
        heads=2,
        kv_heads=2,
        head_dim=16,
        context=17,
        mlp_width=40,
        activation="silu",
        gated=True,
        rms_norm=True,
        rope=GridRope(16, 10000.0, 4),
        qkv_bias=False,
        out_bias=False,
        mlp_bias=False,
        tied=False,
    )
    torch.manual_seed(0)
    plain = initialise(Transformer(config)).eval()
    tokens = torch.randint(30, (2, 17))
    expected = plain(tokens)
    found = CompiledTransformer(plain, converter(torch.float32))(tokens)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_setting_that_the_step_does_not_know_is_left_to_torch():
    known = {name: getattr(CONFIG, name) for name in COMPUTED}
    assert TransformerConfig(**known) == CONFIG
    assert why_not(CONFIG) is None
    others = [field for field in dataclasses.fields(TransformerConfig) if field.name not in COMPUTED]
    for field in others:
        changed = dataclasses.replace(CONFIG, **{field.name: "something"})
        assert field.name in str(why_not(changed))
    assert "activation" in str(why_not(dataclasses.replace(CONFIG, activation="swish7")))


CONFIG = TransformerConfig(
    vocab_size=40,
    vocab_out=40,
    width=32,
    layers=1,
    heads=2,
    kv_heads=2,
    head_dim=16,
    context=8,
    mlp_width=40,
)


def test_a_model_that_the_step_cannot_compute_is_named_with_the_reason():
    config = dataclasses.replace(CONFIG, experts=ExpertsConfig(count=3, per_token=2))
    network = initialise(Transformer(config)).eval()
    with pytest.warns(ZooNote, match="Torch computes this model, .* the compiled step does not know experts"):
        found = optimize_for_inference(network, device=CPU, dtype=torch.float32)
    assert not isinstance(found, CompiledTransformer)


def test_without_numba_torch_computes_and_int4_is_refused(pair, monkeypatch, caplog):
    _, checkpoint = pair
    monkeypatch.setattr("zoo_gpt.decoding.compiled.why_not_compiled", lambda: "numba is not installed")
    caplog.set_level("INFO")
    network = optimize_for_inference(load_transformer(checkpoint), device=CPU, dtype=torch.float32)
    assert not isinstance(network, CompiledTransformer)
    assert "numba is not installed" in caplog.text
    with pytest.raises(OptionError, match="int4 cannot be used: numba is not installed"):
        optimize_for_inference(load_transformer(checkpoint), device=CPU, dtype=torch.int4)


@torch.inference_mode()
def test_threads_and_forks_share_the_kernel(gpt2_folder):
    network = compiled(read_folder(gpt2_folder), torch.int8)
    tokens = torch.arange(24)[None]
    expected = network(tokens)
    results: list[Tensor] = []

    def compute() -> None:
        for _ in range(10):
            results.append(network(tokens))

    threads = [threading.Thread(target=compute) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 30
    assert all(torch.equal(found, expected) for found in results)

    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            os._exit(0 if torch.equal(network(tokens), expected) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@torch.inference_mode()
def test_damaged_weights_show_as_nan(pair):
    _, checkpoint = pair
    for dtype in (torch.float32, torch.int8, torch.int4):
        plain = load_transformer(checkpoint)
        weight = plain.blocks[0].mlp.up.weight.detach().clone()
        weight[1, 2] = torch.nan
        plain.blocks[0].mlp.up.weight = torch.nn.Parameter(weight)
        assert CompiledTransformer(plain, converter(dtype))(torch.tensor([[1, 2, 3]])).isnan().any()
