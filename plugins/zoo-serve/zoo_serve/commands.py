"""``zoo serve``: serve models over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from zoo_core import EngineCommand, OptionError, plugin_engine, plugin_engine_option


class _Size(click.ParamType[int]):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from zoo_serve.config import parse_bytes

        try:
            return parse_bytes(str(value))
        except OptionError as error:
            self.fail(f"{error.message} {error.remedy}", param, ctx)


SERVER_OPTIONS = (
    click.option(
        "--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need a token."
    ),
    click.option(
        "--port", type=click.IntRange(0, 65535), default=8484, show_default=True, help="Port to listen on."
    ),
    click.option(
        "--token",
        envvar="ZOO_SERVE_TOKEN",
        show_envvar=True,
        metavar="TOKEN",
        help="Token that clients must send. Other users of this machine can see it, but not the variable.",
    ),
    click.option(
        "--allow-host",
        "host_names",
        multiple=True,
        metavar="NAME",
        help="Name under which clients reach the server, beside localhost and IP addresses.",
    ),
    click.option(
        "--allow-hub", is_flag=True, help="Let requests name hf: repositories, and download weights."
    ),
    click.option(
        "--memory",
        type=_Size(),
        metavar="SIZE",
        help="Weights to keep loaded, such as 8G. [default: no limit]",
    ),
    click.option(
        "--queue", type=click.IntRange(1), default=256, show_default=True, help="Samples that may wait."
    ),
    click.option(
        "--batch-size", type=click.IntRange(1), help="Samples per batch. [default: the model's preference]"
    ),
    click.option(
        "--timeout", type=click.FloatRange(1), default=600, show_default=True, help="Seconds per request."
    ),
    click.option(
        "--grace",
        type=click.FloatRange(1),
        default=60,
        show_default=True,
        help="Seconds that running answers get when the server is stopped.",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."),
    click.option("--dtype", default="auto", show_default=True, help="auto, float32, float16 or bfloat16."),
    click.option(
        "--adapter", metavar="NAME", help="Merge a LoRA into the weights of the one MODEL, as for zoo run."
    ),
)
"""The flags of a server: those of :class:`zoo_serve.config.ServerConfig`."""


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags of a server to a command; pass their values to ``ServerConfig``."""
    for option in reversed(SERVER_OPTIONS):
        command = option(command)
    return command


@click.command("serve", cls=EngineCommand)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@server_options
@plugin_engine_option("Serve replicas behind one address")
@click.option("-q", "--quiet", is_flag=True, help="Log problems only.")
def serve(quiet: bool, **values: Any) -> None:
    """Serve models over HTTP: OpenAI's API and the zoo's own.

    Serves the MODELs named, which are loaded at once; without one, every model whose weights are on this
    machine, loaded when it is first asked for. Samples of several requests share batches: a sample is the
    same as with zoo run.

    Clients of OpenAI's API use the address http://127.0.0.1:8484/v1.
    """
    from zoo_serve.app import create_app
    from zoo_serve.config import ServerConfig
    from zoo_serve.listening import listen
    from zoo_serve.replicas import serve_replicas
    from zoo_serve.server import announce
    from zoo_serve.server import serve as serve_app

    config = ServerConfig(**values)
    config.check()
    if engine := plugin_engine("serve", "Leave out --engine, or name the engine of a plugin: ray."):
        return serve_replicas(engine, config, quiet=quiet)
    config, sockets = listen(config)
    app = create_app(config)
    if not quiet:
        announce(config, app.state.zoo.models)
    return serve_app(app, config, sockets, quiet=quiet)
