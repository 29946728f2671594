"""The order of each solver, measured on data whose flow is known."""

from __future__ import annotations

import pytest
from zoo_ddpm.convergence import SOLVERS, order

ORDERS = {
    "ddim": 1,
    "euler": 1,
    "euler-ancestral": 1,
    "heun": 2,
    "dpm2": 2,
    "dpm2-ancestral": 2,
    "lms": 3,
    "ipndm": 2,  # its weights are for steps of equal length, and these are not
    "pndm": 2,
    "dpmpp-2m": 2,
    "dpmpp-3m": 2,  # of the published weights, that of the curvature is half of Taylor's
    "dpmpp-2m-sde": 2,
    "dpmpp-2s-ancestral": 2,
    "dpmpp-sde": 2,
    "unipc": 3,  # order 2 with its corrector
}


def test_the_solvers_are_all_samplers_that_take_a_number_of_steps_along_the_flow():
    assert set(SOLVERS) == set(ORDERS)


@pytest.mark.parametrize("sampler", SOLVERS)
def test_errors_shrink_with_the_order_of_the_solver(sampler):
    assert order(sampler, 80) == pytest.approx(ORDERS[sampler], abs=0.4)
