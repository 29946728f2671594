"""Noise: one stream per sample, the same in every batch, on every machine and in every version."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from zoo_core import Noise, OptionError
from zoo_core.noise import MAX_SEED, check_seed

WORD = 2**64


def philox(counter: int, key: int) -> list[int]:
    """Philox4x64-10 written from Salmon et al. 2011, section 4 and table 2: four words of 64 bits."""
    c, k = [counter, 0, 0, 0], [key, 0]
    for _ in range(10):
        high_0, low_0 = divmod(0xD2E7470EE14C6C93 * c[0], WORD)
        high_1, low_1 = divmod(0xCA5A826395121157 * c[2], WORD)
        c = [high_1 ^ c[1] ^ k[0], low_1, high_0 ^ c[3] ^ k[1], low_0]
        k = [(k[0] + 0x9E3779B97F4A7C15) % WORD, (k[1] + 0xBB67AE8584CAA73B) % WORD]
    return c


def test_philox_here_gives_the_authors_known_answer() -> None:
    assert philox(0, 0)[0] == 0x16554D9ECA36314C


@pytest.mark.parametrize("seed", [0, 7, MAX_SEED])
def test_a_stream_is_philox_keyed_by_the_seed(seed: int) -> None:
    words = [word for counter in (1, 2) for word in philox(counter, seed)]
    uniforms = [((word >> 12) + 0.5) * 2.0**-52 for word in words]
    drawn = Noise([seed]).uniform(8)[0].tolist()
    assert drawn == [float(np.float32(uniform)) for uniform in uniforms]


def test_normals_are_the_quantiles_of_the_uniforms() -> None:
    uniforms = Noise([7]).uniform(1000)[0].double()
    quantiles = [NormalDist().inv_cdf(uniform) for uniform in uniforms.tolist()]
    assert Noise([7]).normal(1000)[0].tolist() == pytest.approx(quantiles, abs=1e-4)


def test_the_first_values_of_a_seed_never_change() -> None:
    assert Noise([0, 7, MAX_SEED]).normal(4).tolist() == [
        pytest.approx([-2.2718842, -0.7013279, -1.2189802, 0.1621716], abs=1e-6),
        pytest.approx([1.1362473, -0.5377774, -0.2016436, -0.2394141], abs=1e-6),
        pytest.approx([1.4452540, -0.9093972, 0.3035296, -0.0339397], abs=1e-6),
    ]


def draw_all(seeds: list[int]) -> torch.Tensor:
    """A mixture of draws, as a sampler makes them: (n, 31)."""
    noise = Noise(seeds)
    return torch.cat(
        [noise.normal(3, 4).flatten(1), noise.uniform()[:, None], noise.normal(17), noise.uniform(1)], 1
    )


@pytest.mark.parametrize("seeds", [[3], [3, 9], [9, 3, 4], [*range(64)], [3, 3, 3]])
def test_a_row_is_the_same_in_any_batch(seeds: list[int]) -> None:
    rows = draw_all(seeds)
    for seed, row in zip(seeds, rows, strict=True):
        assert torch.equal(row, draw_all([seed])[0])


def test_a_draw_goes_on_where_the_last_one_ended() -> None:
    whole, parts = Noise([5]), Noise([5])
    assert torch.equal(whole.uniform(10), torch.cat([parts.uniform(4), parts.uniform(6)], 1))


def test_draws_have_one_row_per_seed_in_float32() -> None:
    noise = Noise([1, 2])
    assert noise.normal(3, 8, 8).shape == (2, 3, 8, 8)
    assert noise.uniform().shape == (2,)
    assert noise.normal(0).shape == (2, 0)
    assert noise.normal(3).dtype == noise.uniform(3).dtype == torch.float32


def test_drawing_uses_no_global_random_state() -> None:
    before = torch.random.get_rng_state()
    Noise([1]).normal(100)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_neighbouring_seeds_are_independent() -> None:
    rows = Noise(range(50)).normal(4000)
    correlations = torch.corrcoef(rows) - torch.eye(50)
    assert correlations.abs().max() < 5.5 / math.sqrt(4000)


def test_uniforms_are_uniform() -> None:
    uniforms = Noise([0]).uniform(200_000)[0].double()
    assert uniforms.mean().item() == pytest.approx(1 / 2, abs=4 / math.sqrt(12 * 200_000))
    assert uniforms.var().item() == pytest.approx(1 / 12, abs=0.001)
    counts = torch.histc(uniforms, 100, 0, 1)
    chi_squared = ((counts - 2000) ** 2 / 2000).sum().item()
    assert 50 < chi_squared < 160  # mean 99, standard deviation 14


def test_normals_are_normal() -> None:
    normals = Noise([0]).normal(200_000)[0].double()
    assert normals.mean().item() == pytest.approx(0, abs=4 / math.sqrt(200_000))
    assert normals.var().item() == pytest.approx(1, abs=0.015)
    assert (normals**3).mean().item() == pytest.approx(0, abs=0.035)
    assert (normals**4).mean().item() == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("word", [0, WORD - 1])
def test_the_interval_is_open_and_the_tails_are_finite(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Extreme:
        def random_raw(self, count: int) -> np.ndarray:
            return np.full(count, word, dtype=np.uint64)

    noise = Noise([0])
    monkeypatch.setattr(noise, "_streams", [Extreme()])
    assert 0 < noise.uniform(1).item() < 1
    assert 8 < abs(noise.normal(1).item()) < 9


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 1.0, True, "7", None])
def test_what_is_no_seed_is_refused(seed: object) -> None:
    with pytest.raises(OptionError) as caught:
        check_seed(seed)
    assert caught.value.message == f"{seed!r} is not a seed."
    assert caught.value.remedy == f"Give a whole number from 0 to {MAX_SEED}, such as 7."


def test_the_first_and_the_last_seed_are_taken() -> None:
    assert (check_seed(0), check_seed(MAX_SEED)) == (0, MAX_SEED)


def test_given_latents_take_the_place_of_the_first_normals_alone() -> None:
    latents, own = torch.full((2, 3), 0.5), Noise([0, 1])
    given = Noise([0, 1], latents=latents)
    assert torch.equal(given.uniform(2), own.uniform(2))
    assert torch.equal(given.normal(3), latents)
    own.normal(3)
    assert torch.equal(given.normal(3), own.normal(3))
    with pytest.raises(OptionError, match=r"shape \(n, 3, 1\), not \(2, 3\)"):
        Noise([0, 1], latents=latents).normal(3, 1)
