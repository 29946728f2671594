"""The models of a server: which there are, and how they are described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo_core import LocalWeights, ModelCard, Option, models, near_misses, resolve
from zoo_serve.config import ServerConfig
from zoo_serve.problems import Refusal
from zoo_serve.weights import are_here

_NON_COMMERCIAL = ("nc", "noncommercial", "non-commercial", "research")


class ServedModels:
    """The cards that requests may name."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        chosen = [resolve(name) for name in config.models] or models().values()
        self._cards = {public_id(card): card for card in chosen}

    def cards(self) -> Mapping[str, ModelCard]:
        """Return the cards that can be run, by the id that requests name."""
        allow_hub = self.config.allow_hub or bool(self.config.models)
        return {id: card for id, card in self._cards.items() if allow_hub or are_here(card)}

    def find(self, name: str) -> ModelCard:
        """Return a card by id or alias.

        Raises:
            Refusal: There is no such model here (404), or it would have to be downloaded (403).
        """
        if name.startswith("hf:"):
            return self._of_hub(name)
        card = _by_name(self._cards, name)
        if card is None:
            near = near_misses(name.lower(), self._cards)
            raise Refusal(
                f"This server has no model {name[:100]!r}.",
                f"Did you mean {near[0]}?" if near else "See the list: GET /v1/models",
                status=404,
                code="model_not_found",
                param="model",
            )
        if not (self.config.allow_hub or self.config.models or are_here(card)):
            raise Refusal(
                f"The weights of {card.id} are not on this server.",
                f"Download them there: zoo pull {card.id}; or start it with --allow-hub.",
                status=403,
                code="model_not_downloaded",
                param="model",
            )
        return card

    def _of_hub(self, name: str) -> ModelCard:
        if not self.config.allow_hub:
            raise Refusal(
                "This server takes no repositories of the Hub from requests.",
                "Name one of GET /v1/models, or start it with --allow-hub.",
                status=403,
                code="hub_not_allowed",
                param="model",
            )
        return resolve(name)


def public_id(card: ModelCard) -> str:
    """Return the name of a card in the API: a folder's last part, for the rest is the server's business."""
    return card.weights.folder.name if isinstance(card.weights, LocalWeights) else card.id


def describe(id: str, card: ModelCard) -> dict[str, Any]:
    """Return all of a card that a client may want to know, as JSON."""
    return {
        "id": id,
        "aliases": list(card.aliases),
        "plugin": card.plugin,
        "summary": card.summary,
        "family": card.family,
        "output": card.output,
        "prompt": card.prompt,
        "capabilities": list(card.capabilities),
        "license": card.license,
        "license_note": license_note(card),
        "parameters": card.parameters,
        "paper": card.paper,
        "homepage": card.homepage,
        "cite": card.cite,
        "training": dict(card.training),
        "quality": list(card.quality),
        "options": options_schema(card),
    }


def license_note(card: ModelCard) -> str | None:
    """Return what a licence forbids, as far as its name says."""
    words = card.license.lower().replace("_", "-").split("-")
    if card.license.lower() == "unknown":
        return "The authors state no licence: assume that you may not use it for others."
    if any(word in words for word in _NON_COMMERCIAL) or "non-commercial" in card.license.lower():
        return "Not for commercial use, by the licence of its authors."
    return None


def options_schema(card: ModelCard) -> dict[str, Any]:
    """Return the options of a card that a request may name, as a JSON Schema."""
    options = {name: option for name, option in card.options.items() if option.format != "folder"}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _option_schema(option) for name, option in options.items()},
    }


def _option_schema(option: Option) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": option.type}
    for key in ("minimum", "maximum"):
        if getattr(option, key) is not None:
            schema[key] = getattr(option, key)
    if option.enum:
        schema["enum"] = list(option.enum)
    if option.format == "file":
        # Requests hold the content of files, never paths.
        schema |= {"format": "data-url", "pattern": "^data:"}
    if option.per_sample:
        schema = {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}
    if option.default is not None:
        schema["default"] = option.default
    return {"description": option.description, **schema}


def _by_name(cards: Mapping[str, ModelCard], name: str) -> ModelCard | None:
    wanted = name.lower()
    for id, card in cards.items():
        if wanted in (id.lower(), *(alias.lower() for alias in card.aliases)):
            return card
    return None
