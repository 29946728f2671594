"""The fields of OpenAI's requests: what is honoured, and what is refused by name. None is ignored silently.

A field that is declared on a request's model is honoured. A field in ``REFUSED`` is accepted only with a
value that asks for nothing. Fields in ``option_fields`` are options of the model: a card that does not
declare the option refuses the field. Any other field is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from zoo_core import ModelCard, near_misses, visible
from zoo_serve.models import public_id
from zoo_serve.problems import Refusal


@dataclass(frozen=True)
class Refused:
    """A field that is not supported."""

    why: str
    """Ends the sentence "FIELD is not supported: …"."""
    neutral: tuple[object, ...] = ()
    """Values that ask for nothing, beside null."""


_NO_EFFECT = "requests and answers are not kept"
_ONE_TIER = "there is one class of service"
TEXT_REFUSED: Mapping[str, Refused] = {
    "logit_bias": Refused("no model takes it", ({},)),
    "store": Refused(_NO_EFFECT, (False,)),
    "metadata": Refused(_NO_EFFECT, ({},)),
    "service_tier": Refused(_ONE_TIER, ("auto", "default")),
}


class Fields(BaseModel):
    """What the requests of all endpoints have."""

    model_config = ConfigDict(extra="allow", strict=True)

    option_fields: ClassVar[Mapping[str, tuple[str, object]]] = {}
    """By field: the model's option that it sets, and the value that a model without the option accepts."""

    model: str = Field(description="A model of `GET /v1/models`.")
    user: str | None = Field(None, description="Accepted; it changes no sample and is not kept.")
    safety_identifier: str | None = Field(None, description="Accepted; it changes no sample and is not kept.")

    def refuse(self, refused: Mapping[str, Refused]) -> None:
        """Refuse the fields that are not honoured.

        Raises:
            Refusal: The first of them, by name.
        """
        for name, value in (self.model_extra or {}).items():
            if name not in refused:
                near = near_misses(name, [*type(self).model_fields, *refused])
                raise Refusal(
                    f"There is no field {visible(name, 60)!r}.",
                    f"Did you mean {near[0]}?" if near else "Leave it out, or give a model's own in options.",
                    code="unknown_parameter",
                    param=visible(name, 60),
                )
            if value is not None and value not in refused[name].neutral:
                raise unsupported(name, refused[name].why)


class Body(Fields):
    """What the requests for samples have."""

    n: int | None = Field(None, ge=1, description="Samples per prompt.")
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="Seed of the first sample; the others count up. Default: random."
    )
    options: dict[str, Any] = Field(
        {}, description="The model's own options, as `GET /zoo/models` lists them. Not in OpenAI's API."
    )

    def model_options(self, card: ModelCard) -> dict[str, Any]:
        """Return the options of the model that the request sets, by OpenAI's names or their own.

        Raises:
            Refusal: The model has no such option, or it is set twice.
        """
        chosen = dict(self.options)
        for field, (option, neutral) in self.option_fields.items():
            given = getattr(self, field)
            if given is None:
                continue
            if option not in card.options:
                if given == neutral:
                    continue
                raise unsupported(field, f"{public_id(card)} has no option {option}")
            value = self.option_value(field, given, card)
            if value is None:
                continue
            if chosen.get(option, value) != value:
                raise Refusal(f"{option} is given twice.", "Give it once.", param=field)
            chosen[option] = value
        return chosen

    def option_value(self, field: str, given: Any, card: ModelCard) -> Any:
        """Return the value of the model's option for a field's value; None if it asks for nothing."""
        return given


def unsupported(field: str, why: str) -> Refusal:
    """Return the refusal of a field."""
    return Refusal(
        f"{field} is not supported: {why}.", "Leave it out.", code="unsupported_parameter", param=field
    )
