"""The plugin: its manifest is true, and it costs nothing until one of its models is run."""

from __future__ import annotations

import importlib
from functools import cached_property

import click

from zoo_core.environment import create_trainable
from zoo_core.errors import PluginError
from zoo_core.manifest.cards import Manifest
from zoo_core.plugins.discovery import InstalledPlugin, installed_plugins
from zoo_core.plugins.host import plugin_errors
from zoo_core.protocols import TrainingData
from zoo_core.testing.conformance.check import Judged, Unclaimed, check
from zoo_core.testing.conformance.imports import Imports, imports_of_listing, imports_of_loading

HEAVY = (
    "accelerate", "diffusers", "huggingface_hub", "jax", "matplotlib", "pandas", "scipy", "sklearn",
    "tensorflow", "torch", "transformers",
)  # fmt: skip
"""Modules that take a noticeable time to import; a plugin imports them when it is used."""


class PluginSubject(Judged):
    """A plugin under the suite."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @cached_property
    def plugin(self) -> InstalledPlugin:
        """The plugin as it is installed.

        Raises:
            PluginError: It is not.
        """
        for plugin in installed_plugins():
            if plugin.name == self.name:
                return plugin
        raise PluginError(f"The plugin {self.name} is not installed.", "See which are: zoo plugins")

    @property
    def manifest(self) -> Manifest:
        """What it says about itself."""
        assert self.plugin.manifest is not None
        return self.plugin.manifest

    @cached_property
    def imports(self) -> Imports:
        """What happens when its hooks are loaded, in a fresh process."""
        return imports_of_loading(self.plugin)


@check("Correct zoo.toml where the message says.", quick=True)
def the_manifest_is_valid(subject: PluginSubject) -> None:
    """``zoo.toml`` is there, every key is known and has a value of its kind, and no name is another plugin's.

    Everything the zoo shows about a plugin, and the options of its models, it knows from there alone.
    """
    problem = subject.plugin.problem
    assert problem is None, f"{problem.message} {problem.remedy}" if problem else ""


@check(
    "Import it in a fresh Python and see; what it needs belongs into its dependencies.",
    needs=(the_manifest_is_valid,),
    quick=True,
)
def the_plugin_can_be_imported(subject: PluginSubject) -> None:
    """The module with the hooks can be imported, and its hooks are ones that the core knows.

    A plugin that cannot be imported is a row in ``zoo doctor``, and its models are there for nothing.
    """
    assert subject.imports.problem is None, subject.imports.problem


@check(
    "Import torch and its like inside of the hooks, and for annotations under TYPE_CHECKING.",
    needs=(the_plugin_can_be_imported,),
    quick=True,
)
def importing_the_plugin_is_cheap(subject: PluginSubject) -> None:
    """The module with the hooks imports nothing heavy.

    ``zoo --help`` of a plugin's command and every look at one of its models imports it.
    """
    heavy = sorted(subject.imports.packages.intersection(HEAVY))
    assert not heavy, f"Importing {subject.plugin.module} imports {', '.join(heavy)}."


@check(
    "Print nothing while being imported; warn by logging.", needs=(the_plugin_can_be_imported,), quick=True
)
def importing_the_plugin_prints_nothing(subject: PluginSubject) -> None:
    """Nothing appears on stdout when the module with the hooks is imported.

    It would stand in the midst of ``--json``, or of a text that a model writes.
    """
    printed = subject.imports.printed.strip()
    assert not printed, f"Importing {subject.plugin.module} prints {printed[:100]!r}."


@check(
    "Let nothing of the distribution be run when Python starts: no .pth file with code, no sitecustomize.",
    needs=(the_manifest_is_valid,),
    quick=True,
)
def listing_imports_nothing(subject: PluginSubject) -> None:
    """Reading every manifest, as ``zoo list`` does, imports neither the plugin nor anything heavy.

    Listing must be instant and safe: a plugin's code is run only by somebody who runs the plugin.
    """
    imported = sorted(imports_of_listing().intersection({*HEAVY, subject.plugin.module.partition(".")[0]}))
    assert not imported, f"Listing models imports {', '.join(imported)}."


@check(
    "Announce every hook in the manifest, and implement what is announced.",
    needs=(the_plugin_can_be_imported,),
    quick=True,
)
def hooks_are_those_the_manifest_announces(subject: PluginSubject) -> None:
    """Models and checkpoints have their ``zoo_create_generator``, trainers, ``converts`` and ``lists_models``
    their hooks, and no hook is there that nothing announces.

    A hook is called only where the manifest announces it, so that no plugin is imported for nothing.
    """
    manifest, hooks = subject.manifest, subject.imports.hooks
    listed = manifest.lists_models
    announced = {
        "zoo_create_generator": bool(manifest.models or manifest.checkpoints or listed),
        "zoo_list_models": listed,
        "zoo_convert_checkpoint": bool(manifest.converts),
        "zoo_create_trainable": bool(manifest.trainers),
    }
    for hook, is_announced in announced.items():
        assert not is_announced or hook in hooks, (
            f"zoo.toml has what {hook} is for, which is not implemented."
        )
        assert is_announced or hook not in hooks, f"{hook} is implemented, and zoo.toml has nothing for it."


@check(
    "Name under target the module and the attribute of a click command.", needs=(the_plugin_can_be_imported,)
)
def commands_are_there(subject: PluginSubject) -> None:
    """Every command of the manifest is a click command that can be imported and explains itself.

    ``zoo --help`` shows it from the manifest; that it is not there would be found out by whoever calls it.
    """
    if not subject.manifest.commands:
        raise Unclaimed(f"{subject.name} brings no command")
    for card in subject.manifest.commands:
        module, _, attribute = card.target.partition(":")
        with plugin_errors(subject.name, f"bringing its command {card.name!r}", "Correct its target."):
            command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), f"{card.target} is a {type(command).__name__}, no command."
        assert command.get_help(click.Context(command, info_name=card.name)), f"{card.name} has no help."


@check(
    "Return the networks, losses() and save(); what a trainer needs to know of the data it is told.",
    needs=(hooks_are_those_the_manifest_announces,),
)
def trainers_build_networks(subject: PluginSubject) -> None:
    """Every trainer builds, with its default options, networks with something to learn.

    A download of data and the first epoch's setting up come before this would be found out.
    """
    if not subject.manifest.trainers:
        raise Unclaimed(f"{subject.name} trains nothing")
    for trainer in subject.manifest.trainers:
        trainable = create_trainable(trainer, {}, _data(trainer.data))
        assert trainable.networks, f"The trainer {trainer.name} has no networks."
        for name, network in trainable.networks.items():
            learns = any(parameter.requires_grad for parameter in network.parameters())
            assert learns, f"The network {name} of the trainer {trainer.name} has nothing to learn."


def _data(kind: str) -> TrainingData:
    """Data for a trainer to get to know."""
    import torch

    texts = ("the cat sits on the mat. " * 50,) * 8
    if kind == "text":
        return TrainingData((), texts=texts, count=len(texts))
    levels = torch.arange(16 * 3 * 32 * 32).remainder(251).view(16, 3, 32, 32).to(torch.uint8)
    captions = () if kind == "image" else texts * 2
    return TrainingData((3, 32, 32), ("a", "b"), 16, captions, lambda most: levels[:most])
