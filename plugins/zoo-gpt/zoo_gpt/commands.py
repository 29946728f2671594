"""``zoo next`` and ``zoo score``: likely next tokens, and the likelihood of files."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import zoo_core
from zoo_core import IMAGE_SUFFIXES, ZooError, read_image

if TYPE_CHECKING:
    import torch

    from zoo_core import Model, Score

Command = Callable[..., None]


def _common(command: Command) -> Command:
    """Add the options that both commands have: the arguments of ``zoo_core.load``, and --json."""
    for flag in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON only."),
        click.option("--dtype", default="auto", show_default=True, help="auto, float32, float16, int8, …"),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
        click.option("--adapter", metavar="NAME", help="Merge a LoRA into the weights, as for zoo run."),
    ):
        command = flag(command)
    return command


@click.command("next")
@click.argument("model")
@click.argument("prompt")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Tokens to show.")
@click.option("--chain", is_flag=True, help="Also show the log-likelihood of each token of the prompt.")
@_common
def next_token(
    model: str,
    prompt: str,
    top: int,
    chain: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Show a model's most likely next tokens.

    With --chain, also show the logarithm of each factor of p(X) = p(x₁) p(x₂ | x₁) … for the prompt X, and
    their sum.
    """
    import torch

    generator = _load(model, "next_token", "predict the next token", **where)
    with torch.inference_mode():
        prediction = generator.next_token(prompt)
    expected, factors = prediction.top(top), prediction.chain() if chain else []
    total = sum(nats for _, _, nats in factors)
    if as_json:
        result: dict[str, Any] = {"prompt": prompt, "next": [_row(*token) for token in expected]}
        if chain:
            result["chain"] = [_row(token, text, math.exp(n)) | {"nats": n} for token, text, n in factors]
            result["nats"] = total
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    if chain:
        click.echo("log p in nats")
        for _, text, nats in factors:
            click.echo(f"{nats:9.3f}  {_visible(text)}")
        click.echo(f"{total:9.3f}  = log p(X), {len(factors)} tokens\n")
    width = max(len(_visible(text)) for _, text, _ in expected)
    bar = min(50, shutil.get_terminal_size().columns - width - 12) if sys.stdout.isatty() else 0
    for _, text, p in expected:
        blocks = "█" * round(p / expected[0][2] * bar)
        click.echo(f"{p:8.2%}  {_visible(text).ljust(width)}  {blocks}".rstrip())


def _visible(text: str) -> str:
    """Return a token's text on one line, in quotes, with line breaks escaped."""
    return json.dumps(text, ensure_ascii=False)


def _row(token: int, text: str, probability: float) -> dict[str, Any]:
    return {"token": token, "text": text, "probability": probability}


@click.command()
@click.argument("model")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed for models whose likelihood is estimated by sampling.",
)
@_common
def score(model: str, files: tuple[str, ...], seed: int, as_json: bool, **where: Any) -> None:
    """Show the likelihood of texts or images under a model (- reads text from the standard input).

    Texts: log-likelihood, perplexity per token and bits per byte; a text longer than the context is read in
    windows that overlap by half. Images: log-likelihood and bits per dimension.
    """
    read = [_read(file) for file in files]
    generator = _load(model, "log_likelihood", "score data", **where)
    figures = {
        file: _figures(_score(generator, content, seed + number), content)
        for number, (file, content) in enumerate(zip(files, read, strict=True))
    }
    if as_json:
        rows = [{"file": file, **row} for file, row in figures.items()]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for file, row in figures.items():
        words = [f"{name.replace('_', ' ')} {_format(value)}" for name, value in row.items()]
        click.echo(f"{file}: {', '.join(words)}")


def _format(value: float | int | bool) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _load(model: str, method: str, purpose: str, **where: Any) -> Any:
    """Return the model's generator, which must have the method; ``where`` is for :func:`zoo_core.load`."""
    loaded: Model = zoo_core.load(model, **where)
    if not hasattr(loaded.generator, method):
        raise ZooError(
            f"{loaded.card.id} cannot {purpose}.", f"See its capabilities: zoo show {loaded.card.id}"
        )
    return loaded.generator


def _read(file: str) -> str | torch.Tensor:
    """Return a text, or an image as (1, c, h, w) uint8."""
    if file == "-":
        content = sys.stdin.buffer.read()
    elif Path(file).suffix.lower() in IMAGE_SUFFIXES:
        return _image_tensor(Path(file))
    else:
        try:
            content = Path(file).read_bytes()
        except OSError as error:
            raise ZooError(f"{file} cannot be read: {error.strerror}.", "Check the path.") from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ZooError(
            f"{file} is not UTF-8 text: byte {error.start} is invalid.",
            "Convert it to UTF-8, or give an image.",
        ) from error
    if not text:
        raise ZooError(f"{file} is empty.", "Give a file that contains text.")
    return text


def _image_tensor(path: Path) -> torch.Tensor:
    import numpy as np
    import torch

    try:
        pixels = torch.from_numpy(np.array(read_image(path)))
    except ZooError as error:
        raise ZooError(error.message, "Give a PNG or JPEG file.") from error
    return (pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1))[None]


def _score(generator: Any, content: str | torch.Tensor, seed: int) -> Score:
    import torch

    with torch.inference_mode():
        score: Score = generator.log_likelihood(
            [content] if isinstance(content, str) else content, zoo_core.Noise([seed])
        )
    if not int(score.size[0]):
        raise ZooError("This model cannot score a single token.", "Give a longer text.")
    return score


def _figures(score: Score, content: str | torch.Tensor) -> Mapping[str, float | int | bool]:
    """Return the usual figures for a text or an image."""
    nats, size = float(score.nats[0]), int(score.size[0])
    rate = -nats / size
    figures: dict[str, float | int | bool] = {"nats": nats}
    if isinstance(content, str):
        bytes_ = len(content.encode())
        bits = -nats / math.log(2) / bytes_
        figures |= {"tokens": size, "bytes": bytes_, "perplexity": math.exp(rate), "bits_per_byte": bits}
    else:
        figures |= {"dimensions": size, "bits_per_dimension": rate / math.log(2)}
    return figures | ({"bound": True} if score.bound else {})
