"""What licences of weights that are no plain open-source licences ask of whoever uses them, in a sentence."""

from __future__ import annotations

from zoo_core.errors import visible

RAIL = (
    "forbids harmful uses, which it lists, such as breaking the law, harming minors, discrimination and "
    "false information; pass this duty on with the model and what you derive from it"
)
RESEARCH = "allows no commercial use"
OWN_TERMS = "has terms of its own: who may use it commercially, and for what"

CLAUSES = (
    (("creativeml-openrail", "openrail", "bigscience-", "bigcode-openrail"), RAIL),
    (("cc-by-nc", "deepfloyd", "nvidia-source-code-nc", "fair-noncommercial", "apple-amlr"), RESEARCH),
    (("deepseek-license", "gemma", "llama", "other", "licenseref-"), OWN_TERMS),
)
"""Beginnings of licences' names on the Hub, in lower case, and the clause."""


def use_notice(licence: str, page: str) -> str | None:
    """Return what to tell at the first download of weights; None for a licence without use clauses.

    Args:
        licence: The card's licence.
        page: Address of the repository, where the licence is read.
    """
    clause = next((clause for starts, clause in CLAUSES if licence.lower().startswith(starts)), None)
    if clause is None:
        return None
    return f"The licence of these weights, {visible(licence, 60)}, {clause}.\nRead it: {page}"
