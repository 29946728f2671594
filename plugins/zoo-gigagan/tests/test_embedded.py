"""The models that are built in keep the zoo's contracts."""

from __future__ import annotations

import pytest

import zoo_core as zoo
from zoo_core.testing import GeneratorConformance, embedded_models

pytestmark = pytest.mark.slow


class TestEmbedded(GeneratorConformance):
    @pytest.fixture(scope="class", params=embedded_models("zoo-gigagan"))
    @classmethod
    def subject(cls, request: pytest.FixtureRequest) -> zoo.Model:
        return zoo.load(request.param, device="cpu")
