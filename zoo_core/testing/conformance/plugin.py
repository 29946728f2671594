"""The plugin: its manifest is correct, and it costs nothing until one of its models runs."""

from __future__ import annotations

import importlib
from functools import cached_property

import click

from zoo_core.environment import create_trainable
from zoo_core.errors import OptionError, PluginError
from zoo_core.manifest.cards import Manifest
from zoo_core.plugins.discovery import InstalledPlugin, installed_plugins
from zoo_core.plugins.host import plugin_errors
from zoo_core.protocols import TrainingData
from zoo_core.testing.conformance.check import NotApplicable, Subject, check
from zoo_core.testing.conformance.imports import Imports, imports_of_listing, imports_of_loading

HEAVY = (
    "accelerate", "diffusers", "huggingface_hub", "jax", "matplotlib", "pandas", "scipy", "sklearn",
    "tensorflow", "torch", "transformers",
)  # fmt: skip
"""Packages that are slow to import; a plugin imports them only when it is used."""


class PluginSubject(Subject):
    """A plugin that is being checked."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @cached_property
    def plugin(self) -> InstalledPlugin:
        """Return the installed plugin.

        Raises:
            PluginError: It is not installed.
        """
        for plugin in installed_plugins():
            if plugin.name == self.name:
                return plugin
        raise PluginError(f"The plugin {self.name} is not installed.", "List installed plugins: zoo plugins")

    @property
    def manifest(self) -> Manifest:
        """The plugin's manifest."""
        assert self.plugin.manifest is not None
        return self.plugin.manifest

    @cached_property
    def imports(self) -> Imports:
        """What loading its hooks imports, measured in a fresh process."""
        return imports_of_loading(self.plugin)


@check("Correct zoo.toml at the place that the message names.", quick=True)
def the_manifest_is_valid(subject: PluginSubject) -> None:
    """``zoo.toml`` exists, every key is known and has a valid value, and no other plugin uses the same names.

    The zoo reads everything it shows about a plugin, its models and their options from this file.
    """
    problem = subject.plugin.problem
    assert problem is None, f"{problem.message} {problem.remedy}" if problem else ""


@check(
    "Import it in a fresh Python process to see the error; add missing packages to its dependencies.",
    needs=(the_manifest_is_valid,),
    quick=True,
)
def the_plugin_can_be_imported(subject: PluginSubject) -> None:
    """The module with the hooks can be imported, and the core knows all of its hooks.

    If a plugin cannot be imported, its models cannot be used and ``zoo doctor`` reports it as broken.
    """
    assert subject.imports.problem is None, subject.imports.problem


@check(
    "Import torch and similar packages inside the hooks; put imports for annotations under TYPE_CHECKING.",
    needs=(the_plugin_can_be_imported,),
    quick=True,
)
def hooks_import_no_heavy_package(subject: PluginSubject) -> None:
    """The module with the hooks imports no heavy package.

    It is imported by ``zoo --help`` of the plugin's commands and whenever one of its models is used.
    """
    heavy = sorted(subject.imports.packages.intersection(HEAVY))
    assert not heavy, f"Importing {subject.plugin.module} imports {', '.join(heavy)}."


@check(
    "Print nothing during import; use the logging module for warnings.",
    needs=(the_plugin_can_be_imported,),
    quick=True,
)
def importing_the_plugin_prints_nothing(subject: PluginSubject) -> None:
    """Importing the module with the hooks prints nothing to stdout.

    The output would end up inside ``--json`` or inside a generated text.
    """
    printed = subject.imports.printed.strip()
    assert not printed, f"Importing {subject.plugin.module} prints {printed[:100]!r}."


@check(
    "Ship nothing that runs when Python starts: no .pth file with code, no sitecustomize.",
    needs=(the_manifest_is_valid,),
    quick=True,
)
def listing_does_not_import_the_plugin(subject: PluginSubject) -> None:
    """Reading all manifests, as ``zoo list`` does, imports neither the plugin nor a heavy package.

    Listing must be fast and safe: a plugin's code runs only when the user runs that plugin.
    """
    imported = sorted(imports_of_listing().intersection({*HEAVY, subject.plugin.module.partition(".")[0]}))
    assert not imported, f"Listing models imports {', '.join(imported)}."


@check(
    "Implement every hook that the manifest needs, and remove hooks that it has no use for.",
    needs=(the_plugin_can_be_imported,),
    quick=True,
)
def hooks_match_the_manifest(subject: PluginSubject) -> None:
    """Models and checkpoints come with ``zoo_create_generator``; trainers, ``converts``, ``constraints`` and
    ``lists_models`` with their hooks; no other hook is implemented.

    The core calls a hook only if the manifest needs it, so that no plugin is imported without reason.
    """
    manifest, hooks = subject.manifest, subject.imports.hooks
    listed = manifest.lists_models
    announced = {
        "zoo_create_generator": bool(manifest.models or manifest.checkpoints or listed),
        "zoo_list_models": listed,
        "zoo_convert_checkpoint": bool(manifest.converts),
        "zoo_create_token_masks": bool(manifest.constraints),
        "zoo_create_trainable": bool(manifest.trainers),
    }
    for hook, is_announced in announced.items():
        assert not is_announced or hook in hooks, f"zoo.toml needs the hook {hook}, which is not implemented."
        assert is_announced or hook not in hooks, (
            f"The hook {hook} is implemented, but zoo.toml has nothing that needs it."
        )


@check(
    "Set target to the module and attribute of a click command: package.module:command.",
    needs=(the_plugin_can_be_imported,),
)
def commands_can_be_imported(subject: PluginSubject) -> None:
    """Every command in the manifest can be imported, is a click command and has a help text.

    ``zoo --help`` lists commands from the manifest alone; a missing one would fail only when it is called.
    """
    if not subject.manifest.commands:
        raise NotApplicable(f"{subject.name} has no commands")
    for card in subject.manifest.commands:
        module, _, attribute = card.target.partition(":")
        with plugin_errors(subject.name, f"importing its command {card.name!r}", "Correct its target."):
            command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), (
            f"{card.target} is a {type(command).__name__}, not a click command."
        )
        assert command.get_help(click.Context(command, info_name=card.name)), f"{card.name} has no help."


@check(
    "Return the networks, losses() and save() for the given data.",
    needs=(hooks_match_the_manifest,),
)
def trainers_build_networks(subject: PluginSubject) -> None:
    """Every trainer builds networks with trainable parameters from its default options.

    Otherwise the mistake appears only after the data set is downloaded and the first epoch is prepared. A
    trainer that builds on another model may refuse, if it names the option, which has no default, to add.
    """
    if not subject.manifest.trainers:
        raise NotApplicable(f"{subject.name} has no trainers")
    for trainer in subject.manifest.trainers:
        try:
            trainable = create_trainable(trainer, {}, _data(trainer.data))
        except OptionError as error:
            required = [name for name, option in trainer.options.items() if option.default is None]
            if any(f"--{name.replace('_', '-')} " in error.remedy for name in required):
                continue
            raise
        assert trainable.networks, f"The trainer {trainer.name} has no networks."
        for name, network in trainable.networks.items():
            learns = any(parameter.requires_grad for parameter in network.parameters())
            assert learns, f"The network {name} of the trainer {trainer.name} has no trainable parameters."


def _data(kind: str) -> TrainingData:
    """Return a small data set of one kind for a trainer."""
    import torch

    texts = ("the cat sits on the mat. " * 50,) * 8
    if kind == "text":
        return TrainingData((), texts=texts, count=len(texts))
    levels = torch.arange(16 * 3 * 32 * 32).remainder(251).view(16, 3, 32, 32).to(torch.uint8)
    captions = () if kind == "image" else texts * 2
    return TrainingData((3, 32, 32), ("a", "b"), 16, captions, lambda most: levels[:most])
