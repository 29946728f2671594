"""The command line's own verbs: where each is implemented and what it does, known without importing it."""

from __future__ import annotations

VERBS: dict[str, dict[str, tuple[str, str]]] = {
    "Models": {
        "list": ("zoo_core.cli.models:list_models", "List the models that can be run."),
        "search": ("zoo_core.cli.models:search", "Search all known models, installed or not."),
        "show": ("zoo_core.cli.models:show", "Show what is known about a model."),
        "run": ("zoo_core.cli.run:run", "Make samples with a model."),
        "replay": ("zoo_core.cli.replay:replay", "Make a sample again from what it carries about itself."),
    },
    "Weights": {
        "pull": ("zoo_core.cli.weights:pull", "Fetch the weights of models."),
        "rm": ("zoo_core.cli.weights:remove", "Remove the fetched weights of models."),
        "cache": ("zoo_core.cli.weights:cache", "Show what the Hub cache holds."),
        "convert": ("zoo_core.cli.convert:convert", "Make a model of a foreign checkpoint."),
    },
    "Plugins": {
        "plugins": ("zoo_core.cli.plugins:list_plugins", "List the installed plugins."),
        "install": ("zoo_core.cli.install:install", "Install or update a plugin."),
        "uninstall": ("zoo_core.cli.install:uninstall", "Remove a plugin."),
        "enable": ("zoo_core.cli.plugins:enable", "Use a disabled plugin again."),
        "disable": ("zoo_core.cli.plugins:disable", "Keep a plugin installed, but do not use it."),
        "doctor": ("zoo_core.cli.doctor:doctor", "Say what is installed, what is broken, and the remedy."),
        "registry": ("zoo_core.cli.registry:registry", "Show, fetch, build and check registries of plugins."),
    },
    "Making plugins": {
        "new": ("zoo_core.cli.new:new", "Begin a plugin of your own."),
        "check": ("zoo_core.cli.check:check", "Check that a plugin keeps the zoo's contracts."),
    },
    "Shell": {
        "completion": ("zoo_core.cli.completion:completion", "Print the script that completes zoo's words."),
    },
}
"""By heading: the target ``module:attribute`` and the one-line help of each verb."""

ALIASES = {"ls": "list"}
