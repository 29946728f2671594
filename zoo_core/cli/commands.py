"""The commands of the core: where each is implemented, and its help line, known without importing it."""

from __future__ import annotations

COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Models": {
        "list": ("zoo_core.cli.models:list_models", "List the models that can be run."),
        "search": ("zoo_core.cli.models:search", "Search all known models, installed or not."),
        "show": ("zoo_core.cli.models:show", "Show a model's card: source, licence, options."),
        "run": (
            "zoo_core.cli.run:run",
            "Generate images, texts, audio, videos, points or tables with a model.",
        ),
        "edit": (
            "zoo_core.cli.edit:edit",
            "Make images from an image: change it, or fill in a part of it.",
        ),
        "encode": ("zoo_core.cli.encode:encode", "Write the latents of an image."),
        "decode": ("zoo_core.cli.encode:decode", "Write the image of latents."),
        "interpolate": (
            "zoo_core.cli.interpolate:interpolate",
            "Animate the interpolation between seeds in a model's latent space.",
        ),
        "mix": ("zoo_core.cli.mix:mix", "Make a table of images that mix the latents of two lists of seeds."),
        "score": (
            "zoo_core.cli.score:score",
            "Show the likelihood of texts, images or points under a model.",
        ),
        "next": ("zoo_core.cli.next_token:next_token", "Show a model's most likely next tokens."),
        "merge": ("zoo_core.cli.merge:merge", "Put the shards of a run together, and check them."),
        "chat": ("zoo_core.cli.chat:chat", "Talk with a model."),
        "replay": ("zoo_core.cli.replay:replay", "Reproduce a sample from the metadata in its file."),
    },
    "Weights": {
        "pull": ("zoo_core.cli.weights:pull", "Download the weights of models."),
        "rm": ("zoo_core.cli.weights:remove", "Delete the downloaded weights of models."),
        "cache": ("zoo_core.cli.weights:cache", "List what is in the Hub cache."),
        "push": ("zoo_core.cli.push:push", "Publish a model's folder on the Hub."),
        "convert": ("zoo_core.cli.weights:convert", "Convert a foreign checkpoint to safetensors."),
    },
    "Plugins": {
        "plugins": ("zoo_core.cli.plugins:list_plugins", "List the installed plugins."),
        "install": ("zoo_core.cli.install:install", "Install or update a plugin."),
        "uninstall": ("zoo_core.cli.install:uninstall", "Remove a plugin."),
        "enable": ("zoo_core.cli.plugins:enable", "Enable a disabled plugin."),
        "disable": ("zoo_core.cli.plugins:disable", "Disable a plugin without removing it."),
        "doctor": (
            "zoo_core.cli.doctor:doctor",
            "Find what is broken, and how to fix it.",
        ),
        "registry": ("zoo_core.cli.registry:registry", "List, update, build and check plugin registries."),
    },
    "Making plugins": {
        "new": ("zoo_core.cli.new:new", "Create a plugin."),
        "check": ("zoo_core.cli.check:check", "Run the conformance suite on a plugin."),
    },
    "Shell": {
        "completion": ("zoo_core.cli.completion:completion", "Print a shell completion script."),
    },
}
"""By heading: the target ``module:attribute`` and the help line of each command."""

ALIASES = {"ls": "list"}

MEANT = {
    "create": "new",
    "delete": "rm",
    "describe": "show",
    "download": "pull",
    "fetch": "pull",
    "find": "search",
    "generate": "run",
    "info": "show",
    "inspect": "show",
    "models": "list",
    "publish": "push",
    "remove": "rm",
    "reproduce": "replay",
    "sample": "run",
    "update": "install --upgrade",
    "upload": "push",
    "upgrade": "install --upgrade",
    "verify": "check",
}
"""What other tools call our commands, and what to type here."""
UNLIKE = ("serve",)
"""Words that look like a command and mean something that the zoo does not do."""
