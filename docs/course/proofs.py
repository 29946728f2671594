"""Check proofs of propositional calculus, and find the short ones, on which 3-autoregressive.ipynb trains.

A proof is a string in Polish notation. ``1``, ``2`` and ``3`` are Łukasiewicz's axioms. ``D`` is condensed
detachment, followed by the proof of an implication and the proof of a premise (Hindley & Meredith 1990,
"Principal type-schemes and condensed detachment"). ``DD211`` proves P → P. The theorem of a proof is the most
general formula that it proves.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TypeAlias

Formula: TypeAlias = "int | tuple[Formula, ...]"
"""A variable's number; (a,) for ¬a; or (a, b) for a → b."""

AXIOMS: Mapping[str, Formula] = {
    "1": (0, (1, 0)),
    "2": ((0, (1, 2)), ((0, 1), (0, 2))),
    "3": (((0,), (1,)), (1, 0)),
}
MAX_SYMBOLS = 400
"""Most variables, ¬ and → in a theorem. They can grow exponentially with the length of the proof."""
LETTERS = "PQRSTUVWXYZ"


class ProofError(ValueError):
    """A string that proves nothing; the message says why."""


def check(proof: str) -> Formula:
    """Return the theorem of a proof. Its variables are numbered as they appear.

    Raises:
        ProofError: The string is not in Polish notation, or an implication does not apply to its premise.
    """
    stack: list[Formula] = []
    for symbol in reversed(proof):
        if symbol in AXIOMS:
            stack.append(AXIOMS[symbol])
        elif symbol != "D":
            raise ProofError(f"{symbol!r} is neither D nor the number of an axiom.")
        elif len(stack) < 2:
            raise ProofError("A D is followed by fewer than two proofs.")
        else:
            stack.append(detach(stack.pop(), stack.pop()))
    if len(stack) != 1:
        raise ProofError(f"The string is {len(stack)} proofs in a row, not one.")
    return stack[0]


def is_well_formed(string: str) -> bool:
    """Return whether a string is in Polish notation. It need not be a proof."""
    missing = 1
    for symbol in string:
        if not missing or (symbol != "D" and symbol not in AXIOMS):
            return False
        missing += 1 if symbol == "D" else -1
    return not missing


def detach(implication: Formula, premise: Formula) -> Formula:
    """Return the most general formula that follows by modus ponens from instances of two formulas.

    Antecedent and premise are unified: where they first differ, one has a variable. It is replaced everywhere
    by what the other has there (Robinson 1965, "A machine-oriented logic based on the resolution principle",
    section 5).

    Raises:
        ProofError: Antecedent and premise have no common instance, or a formula gets too long.
    """
    if isinstance(implication, int) or len(implication) == 1:
        raise ProofError(f"{show(implication)} is not an implication.")
    a, consequent = implication
    b = _shift(premise, 1 + max(_variables(implication)))
    while difference := _difference(a, b):
        variable, value = difference if isinstance(difference[0], int) else reversed(difference)
        if not isinstance(variable, int):
            raise ProofError(f"{show(implication)} does not apply to {show(premise)}.")
        if variable in _variables(value):  # the occurs check
            raise ProofError(
                f"{show(implication)} does not apply to {show(premise)}: a part would contain itself."
            )
        a, b, consequent = (_replace(formula, variable, value) for formula in (a, b, consequent))
        _require_short(a)  # what stands for a variable of the consequent is a part of it
    _require_short(consequent)
    return _numbered(consequent)


def shortest_proofs(length: int) -> dict[Formula, str]:
    """Return every theorem with a proof of at most ``length`` symbols, and a shortest proof of it.

    Theorems are sorted by the length of that proof.
    """
    proofs = {axiom: name for name, axiom in AXIOMS.items()}
    found = {1: list(proofs.items())}
    for total in range(3, length + 1, 2):
        new: dict[Formula, str] = {}
        for first in range(1, total - 1, 2):
            for implication, proof in found[first]:
                for premise, other in found[total - 1 - first]:
                    try:
                        theorem = detach(implication, premise)
                    except ProofError:
                        continue
                    if theorem not in proofs:
                        new.setdefault(theorem, f"D{proof}{other}")
        found[total] = list(new.items())
        proofs |= new
    return proofs


def split(proofs: Mapping[Formula, str], share: float) -> tuple[list[str], dict[Formula, str]]:
    """Return proofs to train on, in random order, and the theorems held out with their proofs.

    Held out is a share of the theorems with the longest proofs: no proof to train on contains a proof of one.
    """
    chance = random.Random(0)
    longest = max(map(len, proofs.values()))
    candidates = [theorem for theorem, proof in proofs.items() if len(proof) == longest]
    held_out = {
        theorem: proofs[theorem] for theorem in chance.sample(candidates, round(share * len(candidates)))
    }
    train = [proof for theorem, proof in proofs.items() if theorem not in held_out]
    chance.shuffle(train)
    return train, held_out


def random_polish(length: int, chance: random.Random) -> str:
    """Return a string in Polish notation, any of an odd ``length`` with equal probability.

    One rotation of shuffled symbols is in Polish notation (Dvoretzky & Motzkin 1947, the cycle lemma).
    """
    symbols = ["D"] * (length // 2) + chance.choices(list(AXIOMS), k=length // 2 + 1)
    chance.shuffle(symbols)
    rotations = ("".join(symbols[i:] + symbols[:i]) for i in range(length))
    return next(filter(is_well_formed, rotations))


def show(formula: Formula) -> str:
    """Return a formula in infix notation: P → (Q → P)."""
    if isinstance(formula, int):
        return LETTERS[formula] if formula < len(LETTERS) else f"P{formula}"
    if len(formula) == 1:
        return "¬" + _show_part(formula[0])
    return " → ".join(map(_show_part, formula))


def _show_part(formula: Formula) -> str:
    implies = not isinstance(formula, int) and len(formula) == 2
    return f"({show(formula)})" if implies else show(formula)


def _parts(formula: Formula) -> list[Formula]:
    """Return a formula and all its parts, from left to right."""
    parts: list[Formula] = []
    waiting = [formula]
    while waiting:
        part = waiting.pop()
        parts.append(part)
        if not isinstance(part, int):
            waiting += reversed(part)
    return parts


def _variables(formula: Formula) -> list[int]:
    return [part for part in _parts(formula) if isinstance(part, int)]


def _require_short(formula: Formula) -> None:
    if len(_parts(formula)) > MAX_SYMBOLS:
        raise ProofError(f"The theorem has more than {MAX_SYMBOLS} symbols.")


def _shift(formula: Formula, by: int) -> Formula:
    return formula + by if isinstance(formula, int) else tuple(_shift(part, by) for part in formula)


def _replace(formula: Formula, variable: int, value: Formula) -> Formula:
    if isinstance(formula, int):
        return value if formula == variable else formula
    return tuple(_replace(part, variable, value) for part in formula)


def _difference(a: Formula, b: Formula) -> tuple[Formula, Formula] | None:
    """Return the first parts in which two formulas differ; None if they are the same."""
    if isinstance(a, int) or isinstance(b, int) or len(a) != len(b):
        return None if a == b else (a, b)
    return next(filter(None, map(_difference, a, b)), None)


def _numbered(formula: Formula) -> Formula:
    names: dict[int, int] = {}
    for variable in _variables(formula):
        names.setdefault(variable, len(names))

    def rename(part: Formula) -> Formula:
        return names[part] if isinstance(part, int) else tuple(map(rename, part))

    return rename(formula)
