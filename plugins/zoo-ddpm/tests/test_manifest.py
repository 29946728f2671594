"""What zoo.toml says about this plugin, and that importing the plugin costs nothing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import zoo_ddpm
from zoo_ddpm import betas, sampling, schedule, sigmas, timesteps, training

from zoo_core.manifest.cards import HubWeights
from zoo_core.manifest.reader import read_manifest

FOLDER = Path(zoo_ddpm.__file__).parent
MANIFEST = read_manifest(tomllib.loads((FOLDER / "zoo.toml").read_text()), FOLDER / "zoo.toml", FOLDER)
TRAINER = MANIFEST.trainers[0]


def test_importing_the_plugin_imports_no_torch():
    code = "import sys, zoo_ddpm; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_card_of_the_hub_is_pinned_and_names_its_source():
    for card in MANIFEST.models:
        if isinstance(card.weights, HubWeights):
            assert card.weights.revision, card.id
            assert card.homepage == f"https://huggingface.co/{card.weights.repo}"
            assert card.weights.repo in card.aliases
            names = {file.name.rsplit("/")[-1] for file in card.weights.files}
            assert {"config.json", "scheduler_config.json"} < names
        assert card.paper
        assert card.cite


def test_options_offer_what_the_code_knows():
    shared = MANIFEST.models[0].options

    assert set(shared["sampler"].enum) == set(sampling.SAMPLERS)
    assert set(shared["spacing"].enum) == {*timesteps.SPACINGS, *sigmas.SIGMA_SPACINGS}
    assert set(TRAINER.options["schedule"].enum) == {*training.SCHEDULES, training.FLOW}
    assert set(training.SCHEDULES.values()) < set(betas.BETA_SCHEDULES)
    assert set(TRAINER.options["prediction"].enum) == set(training.PREDICTIONS)
    assert set(training.PREDICTIONS.values()) == set(get_args(schedule.PredictionType))
    assert set(TRAINER.options["distance"].enum) == set(training.DISTANCES)
    assert set(TRAINER.options["weights"].enum) == set(training.WEIGHT_TYPES)


def test_every_option_is_described():
    options = [*TRAINER.options.values(), *(o for card in MANIFEST.models for o in card.options.values())]

    assert all(option.description.endswith((".", ")")) for option in options)
