"""What a plugin's command records in the files that it makes."""

from __future__ import annotations

import click

from zoo_core.running.model import Model
from zoo_core.samples.record import Record


def record_of_command(model: Model, seed: int, prompt: str | None = None) -> Record:
    """Return the record of what the running click command makes.

    Its metadata has the command, a list of words: ``zoo replay`` prints it.
    """
    context = click.get_current_context()
    words = [str(context.info_name)]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        values = list(value) if isinstance(value, list | tuple | range) else [value]
        if isinstance(parameter, click.Argument):
            words += map(str, values)
        elif value is True:
            words.append(parameter.opts[-1])
        elif value is not None and value is not False and parameter.name != "output":
            separate = isinstance(parameter, click.Option) and parameter.multiple
            for each in values if separate else [",".join(map(str, values))]:
                words += [parameter.opts[-1], str(each)]
    words += ["--output", str(context.params["output"])]
    (request,) = model.plan(prompt, n=1, seed=seed)
    return model.record(request, {"command": words})
