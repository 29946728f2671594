"""Compare the network arranged for inference with the plain one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from zoo_gpt.decoding.decode import decode
from zoo_gpt.decoding.inference import default_dtype, optimize_for_inference
from zoo_gpt.network.checkpoint import load_transformer

from zoo_core import Checkpoint, OptionError, WeightsError
from zoo_core.kernels import HalfLinear, Int8Linear, PackedLinear, has_fbgemm, has_packed_linear

CPU = torch.device("cpu")
TOLERANCES = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 5e-2, torch.int8: 5e-2}

needs_fbgemm = pytest.mark.skipif(not has_fbgemm(), reason="needs FBGEMM")


@pytest.fixture
def checkpoint(gpt2_folder: Path) -> Checkpoint:
    files = {path.name: path for path in gpt2_folder.iterdir()}
    return Checkpoint(source=str(gpt2_folder), files=files, digest="")


@needs_fbgemm
@pytest.mark.parametrize("dtype", TOLERANCES)
@torch.inference_mode()
def test_logits_match_the_plain_network(checkpoint, dtype):
    plain = load_transformer(checkpoint)
    tokens = torch.randint(plain.config.vocab_size, (3, 20))
    expected = plain(tokens)
    found = optimize_for_inference(load_transformer(checkpoint), device=CPU, dtype=dtype)(tokens)
    assert float((found.float() - expected).abs().max() / expected.abs().max()) < TOLERANCES[dtype]


@needs_fbgemm
@pytest.mark.parametrize("dtype", TOLERANCES)
@torch.inference_mode()
def test_cached_steps_match_the_plain_network_for_prompts_of_different_lengths(checkpoint, dtype):
    plain, network = (
        load_transformer(checkpoint),
        optimize_for_inference(load_transformer(checkpoint), device=CPU, dtype=dtype),
    )
    texts = [list(range(3, 3 + length)) for length in (9, 1, 4)]

    def sample(logits: torch.Tensor) -> torch.Tensor:
        expected = torch.stack([plain(torch.tensor([text]))[0, -1] for text in texts])
        assert float((logits - expected).abs().max() / expected.abs().max()) < TOLERANCES[dtype]
        tokens = expected.argmax(-1)
        for text, token in zip(texts, tokens.tolist(), strict=True):
            text.append(token)
        return tokens

    assert len(list(decode(network, [list(text) for text in texts], 12, sample))) == 12


@torch.inference_mode()
def test_a_type_without_kernels_uses_plain_layers(checkpoint):
    network = optimize_for_inference(load_transformer(checkpoint), device=CPU, dtype=torch.float64)
    tokens = torch.randint(network.config.vocab_size, (1, 5))
    assert network.dtype == network(tokens).dtype == torch.float64


@needs_fbgemm
def test_by_default_a_cpu_has_float16_weights_and_float32_sums(checkpoint):
    assert default_dtype(CPU) == torch.float16
    assert default_dtype(torch.device("cuda")) == torch.float32
    assert (
        optimize_for_inference(load_transformer(checkpoint), device=CPU, dtype=torch.float16).dtype
        == torch.float32
    )


def test_int8_is_refused_without_kernels(checkpoint):
    with pytest.raises(OptionError, match="int8 needs an x86 CPU"):
        optimize_for_inference(load_transformer(checkpoint), device=torch.device("meta"), dtype=torch.int8)


@pytest.mark.skipif(not has_packed_linear(torch.float32), reason="needs oneDNN")
@pytest.mark.parametrize("rows", [1, 2, 8, 40])
@torch.inference_mode()
def test_packed_float32_is_exact_for_contiguous_and_transposed_weights(rows):
    weight, bias = layer()
    for stored in (weight, weight.t().contiguous().t()):
        made = PackedLinear(stored, bias, torch.float32)
        x = torch.randn(rows, 64)
        exact = torch.nn.functional.linear(x.double(), weight.double(), bias.double())
        torch.testing.assert_close(made(x).double(), exact, rtol=1e-5, atol=1e-5)


def layer(out: int = 96, into: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(out, into, generator=random), torch.randn(out, generator=random)


@needs_fbgemm
@torch.inference_mode()
def test_half_precision_rounds_only_the_weights():
    weight, bias = layer()
    x = torch.randn(5, 64)
    for dtype in (torch.float16, torch.bfloat16):
        rounded = weight.to(dtype).double()
        expected = torch.nn.functional.linear(x.double(), rounded, bias.double())
        torch.testing.assert_close(
            HalfLinear(weight, bias, dtype)(x).double(), expected, rtol=1e-5, atol=1e-5
        )


@needs_fbgemm
def test_a_weight_too_large_for_float16_is_refused():
    weight, _ = layer()
    weight[3, 4] = 1e5
    with pytest.raises(WeightsError, match="too large for float16"):
        HalfLinear(weight, None, torch.bfloat16)


@needs_fbgemm
@torch.inference_mode()
def test_int8_rounds_only_the_weights():
    weight, bias = layer()
    scales = weight.abs().amax(1, keepdim=True) / 127
    rounded = (weight / scales).round() * scales
    x = torch.randn(7, 64)
    exact = torch.nn.functional.linear(x, weight, bias)
    expected = torch.nn.functional.linear(x, rounded, bias)
    found = Int8Linear(weight, bias)(x)
    assert float((found - expected).norm() / (exact - expected).norm()) < 0.05


@needs_fbgemm
@torch.inference_mode()
def test_int8_rows_are_bitwise_independent_of_each_other():
    made = Int8Linear(*layer())
    x = torch.randn(9, 64)
    x[4] *= 1e6
    assert all(torch.equal(made(x[i : i + 1])[0], made(x)[i]) for i in range(len(x)))


@needs_fbgemm
@torch.inference_mode()
def test_int8_accepts_zero_rows_and_zero_outputs():
    weight, bias = layer()
    weight[2] = 0
    found = Int8Linear(weight, bias)(torch.zeros(2, 3, 64))
    assert torch.equal(found, bias.expand(2, 3, -1))


@needs_fbgemm
def test_the_quantization_engine_of_the_process_is_restored(checkpoint):
    before = torch.backends.quantized.engine
    optimize_for_inference(load_transformer(checkpoint), device=CPU, dtype=torch.int8)
    assert torch.backends.quantized.engine == before


def test_without_the_compiled_step_float32_uses_packed_layers(checkpoint, monkeypatch):
    monkeypatch.setattr("zoo_gpt.decoding.inference.why_not", lambda config: "not here")
    if not has_packed_linear(torch.float32):
        pytest.skip("needs oneDNN")
    network = optimize_for_inference(load_transformer(checkpoint), device=CPU, dtype=torch.float32)
    assert isinstance(network.head, PackedLinear)
