"""Half precision on a CPU without arithmetic for it: no family multiplies in it, and all still compute."""

from __future__ import annotations

import pytest
import torch

import zoo_core as zoo
from zoo_core.kernels.half import half_in_float32
from zoo_core.testing.monitors import ProductsIn

CPU = torch.device("cpu")
FAMILIES = {
    "ddpm-digits": {"steps": 2},
    "stylegan2-digits": {},
    "gigagan-tabletop": {},
    "gpt-kjv": {"max_tokens": 4},
    "imagegpt-digits": {},
}
"""A built-in model of each family, with options for a short run."""


@pytest.fixture(autouse=True)
def without_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_core.kernels.capabilities._multiplies", lambda dtype: False)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_multiplies_in_a_type_that_the_cpu_lacks(name: str, dtype: str) -> None:
    model = zoo.load(name, device="cpu", dtype=dtype)
    assert (model.dtype, model.has_arithmetic) == (dtype, False)
    with ProductsIn() as products:
        assert len(list(model.generate(seed=0, **FAMILIES[name]))) == 1
    assert not products.dtypes & {torch.bfloat16, torch.float16}


def test_a_product_has_the_type_of_its_inputs_and_the_digits_of_float32() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(4, 300).bfloat16(), torch.randn(5, 300).bfloat16()
    with ProductsIn() as products, half_in_float32(CPU, torch.bfloat16):
        found = torch.nn.functional.linear(x, w, bias=torch.zeros(5).bfloat16())
        found_by_operator = x @ w.T
    assert products.dtypes == {torch.float32}
    assert torch.equal(found, (x.float() @ w.float().T).bfloat16())
    assert torch.equal(found_by_operator, found)


def test_a_cpu_with_arithmetic_multiplies_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_core.kernels.capabilities._multiplies", lambda dtype: True)
    x = torch.ones(2, 2).bfloat16()
    with ProductsIn() as products, half_in_float32(CPU, torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
    assert products.dtypes == {torch.bfloat16}
