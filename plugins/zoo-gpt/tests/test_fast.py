"""The layers for sampling beside the plain ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from zoo_gpt import checkpoint as layout
from zoo_gpt.decoding import decode
from zoo_gpt.fast import fastest_dtype, prepare_for_sampling

from zoo_core import Checkpoint, OptionError, WeightsError
from zoo_core.kernels import HalfLinear, Int8Linear, PackedLinear, has_fbgemm, has_packed_linear

CPU = torch.device("cpu")
TOLERANCES = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 5e-2, torch.int8: 5e-2}

needs_fbgemm = pytest.mark.skipif(not has_fbgemm(), reason="FBGEMM is for x86 processors")


@pytest.fixture
def parts(gpt2_folder: Path) -> layout.Parts:
    files = {path.name: path for path in gpt2_folder.iterdir()}
    return layout.read(Checkpoint(source=str(gpt2_folder), files=files, digest=""))


@needs_fbgemm
@pytest.mark.parametrize("dtype", TOLERANCES)
@torch.inference_mode()
def test_logits_are_those_of_the_plain_network(parts, dtype):
    tokens = torch.randint(parts.config.vocab_size, (3, 20))
    expected = parts.build()(tokens)
    found = prepare_for_sampling(parts.build(), CPU, dtype)(tokens)
    assert float((found.float() - expected).abs().max() / expected.abs().max()) < TOLERANCES[dtype]


@needs_fbgemm
@pytest.mark.parametrize("dtype", TOLERANCES)
@torch.inference_mode()
def test_steps_from_a_cache_are_those_of_the_plain_network_for_prompts_of_different_lengths(parts, dtype):
    plain, network = parts.build(), prepare_for_sampling(parts.build(), CPU, dtype)
    texts = [list(range(3, 3 + length)) for length in (9, 1, 4)]

    def choose(logits: torch.Tensor) -> torch.Tensor:
        expected = torch.stack([plain(torch.tensor([text]))[0, -1] for text in texts])
        assert float((logits - expected).abs().max() / expected.abs().max()) < TOLERANCES[dtype]
        tokens = expected.argmax(-1)
        for text, token in zip(texts, tokens.tolist(), strict=True):
            text.append(token)
        return tokens

    assert len(list(decode(network, [list(text) for text in texts], 12, choose))) == 12


@torch.inference_mode()
def test_a_type_without_kernels_is_computed_in_plainly(parts):
    tokens = torch.randint(parts.config.vocab_size, (1, 5))
    network = prepare_for_sampling(parts.build(), CPU, torch.float64)
    assert network.dtype == network(tokens).dtype == torch.float64


@needs_fbgemm
def test_by_itself_a_cpu_has_weights_in_half_precision_and_sums_in_float32(parts):
    assert fastest_dtype(CPU) == torch.float16
    assert fastest_dtype(torch.device("cuda")) == torch.float32
    assert prepare_for_sampling(parts.build(), CPU, torch.float16).dtype == torch.float32


def test_int8_is_refused_where_it_has_no_kernels(parts):
    with pytest.raises(OptionError, match="int8 is for x86"):
        prepare_for_sampling(parts.build(), torch.device("meta"), torch.int8)


@pytest.mark.skipif(not has_packed_linear(torch.float32), reason="this torch gives no access to oneDNN")
@pytest.mark.parametrize("rows", [1, 2, 8, 40])
@torch.inference_mode()
def test_float32_is_as_exact_packed_as_plain_also_of_a_weight_that_lies_transposed_in_its_file(rows):
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
def test_half_precision_keeps_what_half_precision_can_say():
    weight, bias = layer()
    x = torch.randn(5, 64)
    for dtype in (torch.float16, torch.bfloat16):
        rounded = weight.to(dtype).double()
        expected = torch.nn.functional.linear(x.double(), rounded, bias.double())
        torch.testing.assert_close(
            HalfLinear(weight, bias, dtype)(x).double(), expected, rtol=1e-5, atol=1e-5
        )


@needs_fbgemm
def test_a_weight_that_half_precision_cannot_say_is_refused():
    weight, _ = layer()
    weight[3, 4] = 1e5
    with pytest.raises(WeightsError, match="larger than float16"):
        HalfLinear(weight, None, torch.bfloat16)


@needs_fbgemm
@torch.inference_mode()
def test_of_int8_only_the_weights_rounding_shows():
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
def test_a_row_of_int8_is_the_same_bit_by_bit_whatever_is_beside_it():
    made = Int8Linear(*layer())
    x = torch.randn(9, 64)
    x[4] *= 1e6
    assert all(torch.equal(made(x[i : i + 1])[0], made(x)[i]) for i in range(len(x)))


@needs_fbgemm
@torch.inference_mode()
def test_int8_knows_rows_and_outputs_of_zeros():
    weight, bias = layer()
    weight[2] = 0
    found = Int8Linear(weight, bias)(torch.zeros(2, 3, 64))
    assert torch.equal(found, bias.expand(2, 3, -1))


@needs_fbgemm
def test_the_engine_that_a_process_has_set_stays(parts):
    before = torch.backends.quantized.engine
    prepare_for_sampling(parts.build(), CPU, torch.int8)
    assert torch.backends.quantized.engine == before


def test_float32_has_layers_of_onednn(parts):
    if not has_packed_linear(torch.float32):
        pytest.skip("this torch gives no access to oneDNN")
    network = prepare_for_sampling(parts.build(), CPU, torch.float32)
    assert isinstance(network.head, PackedLinear)
