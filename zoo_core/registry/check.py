"""Check a registry for errors, and for what its users should know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo_core.errors import short_repr
from zoo_core.manifest.cards import HubWeights
from zoo_core.registry.addresses import is_address
from zoo_core.registry.entries import Entry, Registry

# fmt: off
HUB_LICENSES = frozenset({
    "apple-amlr", "apple-ascl", "bigcode-openrail-m", "bigscience-bloom-rail-1.0", "bigscience-openrail-m",
    "bsd", "cc", "cc-by", "cc-by-nc", "cc-by-sa", "creativeml-openrail-m", "deepfloyd-if-license",
    "deepseek-license", "fair-noncommercial-research-license", "gemma", "gpl", "lgpl", "llama2", "llama3",
    "llama3.1", "llama3.2", "llama3.3", "llama4", "nvidia-source-code-nc", "openrail", "openrail++", "other",
})
# fmt: on
"""The Hub's names of licences that have no SPDX identifier."""


@dataclass(frozen=True)
class Finding:
    """An error in a registry, or a warning."""

    level: Literal["error", "warning"]
    check: Literal["schema", "unique", "version", "pin", "hash", "licence"]
    plugin: str | None
    model: str | None
    message: str
    remedy: str


def check_registry(registry: Registry) -> list[Finding]:
    """Return everything wrong with a registry that can be found without a network.

    Errors: unreadable entries; a name that two plugins or models have; an invalid version; a wheel that is
    missing or has changed. Warnings: weights without a pinned commit, files without size and digest, unknown
    licences.
    """
    findings = [Finding("error", "schema", None, None, p.message, p.remedy) for p in registry.problems]
    findings += _doubles(registry.entries)
    for entry in registry.entries:
        findings += _package(entry)
        for card in entry.manifest.models:
            findings += [
                Finding(level, check, entry.name, card.id, message, remedy)
                for level, check, message, remedy in _model(card.license, card.weights)
            ]
    return findings


def _doubles(entries: tuple[Entry, ...]) -> Iterator[Finding]:
    owners: dict[str, str] = {}
    for entry in entries:
        for card in entry.manifest.models:
            for name in (card.id, *card.aliases):
                owner = owners.setdefault(name.lower(), entry.name)
                if owner != entry.name:
                    message = f"{owner} also has a model {name!r}."
                    remedy = "Rename one of the two: if both are installed, one is broken."
                    yield Finding("error", "unique", entry.name, card.id, message, remedy)


def _package(entry: Entry) -> Iterator[Finding]:
    from packaging.version import Version

    package = entry.package
    try:
        Version(package.version)
    except ValueError:  # InvalidVersion, or a number of 5,000 digits
        message = f"{short_repr(package.version)} is not a valid version."
        yield Finding("error", "version", entry.name, None, message, "Use a PEP 440 version such as 1.0rc1.")
    if not _is_licence(package.license):
        yield Finding("warning", "licence", entry.name, None, *_unknown(package.license))
    if package.wheel and not is_address(package.wheel):
        wheel = Path(package.wheel)
        if not wheel.is_file():
            yield Finding(
                "error",
                "hash",
                entry.name,
                None,
                f"There is no file {wheel}.",
                "Put it there, or build the registry again.",
            )
        elif hashlib.sha256(wheel.read_bytes()).hexdigest() != package.sha256:
            message, remedy = f"{wheel} has another sha256.", "Build the registry again with the right file."
            yield Finding("error", "hash", entry.name, None, message, remedy)


def _model(
    licence: str, weights: object
) -> Iterator[tuple[Literal["error", "warning"], Literal["pin", "hash", "licence"], str, str]]:
    if not _is_licence(licence):
        yield ("warning", "licence", *_unknown(licence))
    if not isinstance(weights, HubWeights):
        return
    if weights.revision is None:
        message = f"{weights.repo} is not pinned to a commit, so its content may change."
        yield "warning", "pin", message, 'Pin it: revision = "<40 hexadecimal digits>" in weights.'
    bare = [file.name for file in weights.files if file.bytes is None or file.sha256 is None]
    if bare:
        message = f"{', '.join(bare)}: size or sha256 is missing, so a changed file is not noticed."
        yield "warning", "hash", message, "Give bytes and sha256 with each file in weights."


def _is_licence(text: str) -> bool:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    if text.lower() in HUB_LICENSES:
        return True
    try:
        canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return False
    return True


def _unknown(licence: str) -> tuple[str, str]:
    return (
        f"{licence!r} is not a known licence.",
        "Give its SPDX identifier or the Hub's name; for your own, LicenseRef-NAME.",
    )
