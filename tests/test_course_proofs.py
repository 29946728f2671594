"""docs/course/proofs.py: the checker, the theorems it finds, and the split."""

from __future__ import annotations

import importlib.util
import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "course" / "proofs.py"
SPEC = importlib.util.spec_from_file_location("course_proofs", SCRIPT)
assert SPEC
assert SPEC.loader
proofs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(proofs)

PRINCIPIA = {
    "1": "P → (Q → P)",  # *2.02
    "3": "(¬P → ¬Q) → (Q → P)",  # *2.17
    "DD211": "P → P",  # *2.08, the law of identity
    "DD2D121": "(P → Q) → ((R → P) → (R → Q))",  # *2.05, syllogism
    "DD2D1D2DD2D1211": "(P → Q) → ((Q → R) → (P → R))",  # *2.06, syllogism
    "DD2D131": "¬P → (P → Q)",  # *2.21
    "DD2D1D2DD2D1311": "P → (¬P → Q)",  # *2.24
    "DD2DD2D13DD2D1311": "¬¬P → P",  # *2.14, double negation
    "D3DD2DD2D13DD2D1311": "P → ¬¬P",  # *2.12
    "DD2DD2D13D2DD2D1311": "(¬P → P) → P",  # *2.18
}
"""Theorems of Principia Mathematica, and proofs from Metamath's list of the shortest ones (pmproofs.txt)."""


def is_tautology(formula: Any) -> bool:
    names = sorted(set(proofs._variables(formula)))

    def value(part: Any, truth: dict[int, bool]) -> bool:
        if isinstance(part, int):
            return truth[part]
        return not value(part[0], truth) or (len(part) == 2 and value(part[1], truth))

    rows = itertools.product([False, True], repeat=len(names))
    return all(value(formula, dict(zip(names, row, strict=True))) for row in rows)


@pytest.mark.parametrize(("proof", "theorem"), PRINCIPIA.items())
def test_a_proof_has_the_theorem_that_principia_has(proof: str, theorem: str) -> None:
    assert proofs.show(proofs.check(proof)) == theorem


@pytest.mark.parametrize(
    ("string", "reason"),
    [
        ("", "0 proofs in a row"),
        ("11", "2 proofs in a row"),
        ("DD21", "fewer than two"),
        ("D14", "'4' is neither"),
        ("D31", r"\(¬P → ¬Q\) → \(Q → P\) does not apply to P → \(Q → P\)\.$"),
        ("DD221", "a part would contain itself"),
    ],
)
def test_a_string_that_is_no_proof_is_refused(string: str, reason: str) -> None:
    with pytest.raises(proofs.ProofError, match=reason):
        proofs.check(string)


def test_a_variable_is_not_replaced_by_what_contains_it() -> None:
    with pytest.raises(proofs.ProofError, match="contain itself"):
        proofs.detach(((0, 0), 1), (0, (0, 1)))
    assert proofs.detach(((0, 0), 1), (0, 1)) == 0


def test_a_theorem_that_doubles_with_each_step_is_given_up() -> None:
    formula: Any = (0, 0)
    for _ in range(6):
        formula = proofs.detach((0, (0, 0)), formula)
    assert proofs.show(formula).count("P") == 128
    with pytest.raises(proofs.ProofError, match="more than 400 symbols"):
        proofs.detach((0, (0, 0)), formula)


def test_every_theorem_with_a_short_proof_is_found_with_a_shortest_one() -> None:
    shortest: dict[Any, int] = {}
    for length in range(1, 8):
        for symbols in itertools.product("D123", repeat=length):
            string = "".join(symbols)
            try:
                theorem = proofs.check(string)
            except proofs.ProofError:
                continue
            assert proofs.is_well_formed(string)
            shortest.setdefault(theorem, length)
    found = proofs.shortest_proofs(7)
    assert {theorem: len(proof) for theorem, proof in found.items()} == shortest
    assert all(proofs.check(proof) == theorem for theorem, proof in found.items())


def test_every_theorem_is_a_tautology() -> None:
    assert all(map(is_tautology, proofs.shortest_proofs(11)))
    assert not is_tautology((0, 1))


def test_no_proof_to_train_on_contains_a_held_out_theorem() -> None:
    found = proofs.shortest_proofs(9)
    train, held_out = proofs.split(found, 0.2)
    assert len(held_out) == round(0.2 * sum(len(proof) == 9 for proof in found.values()))
    assert sorted([*train, *held_out.values()]) == sorted(found.values())
    assert (train, held_out) == proofs.split(found, 0.2)
    parts = {proof[i:j] for proof in train for i in range(9) for j in range(i + 1, 10)}
    theorems = {proofs.check(part) for part in filter(proofs.is_well_formed, parts) if is_proof(part)}
    assert not theorems & held_out.keys()


def is_proof(string: str) -> bool:
    try:
        proofs.check(string)
    except proofs.ProofError:
        return False
    return True


def test_random_strings_in_polish_notation_are_uniform() -> None:
    chance = random.Random(0)
    counts = Counter(proofs.random_polish(5, chance) for _ in range(5400))
    assert len(counts) == 54  # two trees with three leaves, of three axioms each
    assert all(map(proofs.is_well_formed, counts))
    assert max(counts.values()) < 150
    assert min(counts.values()) > 60
