"""Names that the command line uses itself, which no plugin's command and no model's option can have."""

from __future__ import annotations

# fmt: off
COMMANDS = frozenset({
    "list", "ls", "search", "show", "run", "chat", "replay", "pull", "rm", "cache", "convert", "plugins",
    "install", "uninstall", "enable", "disable", "doctor", "registry", "new", "check", "completion",
    "merge", "push", "edit", "score", "next", "interpolate", "mix", "encode",
    "decode",
})
"""``zoo_core.cli.commands`` says where each is implemented; a test compares the two."""

LOCAL_ENGINE = "local"
"""The engine of the core, whose name no plugin's can have."""

RUN_OPTIONS = frozenset({
    "model", "prompt", "prompts", "n", "seed", "seeds", "output", "caption", "save_steps", "resume", "force",
    "device", "dtype", "batch_size", "json", "as_json", "quiet", "help", "debug", "on_step", "keep_frames",
    "shard", "engine", "devices", "adapter", "open_result", "open", "preview", "latents",
})
# fmt: on
"""Names that ``zoo run`` or ``Model.generate`` use, and so no option of a model can have."""
