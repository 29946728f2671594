"""``zoo studio``: a page to use models, or a gallery as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from zoo_serve.commands import server_options


@click.command("studio")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@server_options
@click.option(
    "--share-file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Write a gallery as one HTML file instead; the arguments are files and folders of zoo run.",
)
def studio(share_file: Path | None, models: tuple[str, ...], **values: Any) -> None:
    """Open a page in the browser to use models.

    Offers the MODELs named, which are loaded at once; without one, every model whose weights are on this
    machine, loaded when it is first used. The addresses of zoo serve are there too.
    """
    if share_file is not None:
        from zoo_studio.share import write_gallery

        count = write_gallery(share_file, models)
        click.echo(f"{share_file}: {count} sample{'' if count == 1 else 's'}.", err=True)
        return
    from zoo_serve.app import create_app
    from zoo_serve.config import ServerConfig
    from zoo_serve.listening import listen
    from zoo_serve.server import serve

    from zoo_studio.app import add_page, address

    config = ServerConfig(models=models, **values)
    config.check()
    config, sockets = listen(config)
    app = create_app(config)
    add_page(app)
    click.echo(f"Open {address(config)} in a browser; Ctrl-C stops.", err=True)
    serve(app, config, sockets, quiet=True)
