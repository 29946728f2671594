"""``zoo next`` and ``zoo score``: what a model expects, and how likely it finds what there is."""

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
from zoo_core import ZooError

if TYPE_CHECKING:
    import torch

    from zoo_core import Model, Score

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

Command = Callable[..., None]


def _common(command: Command) -> Command:
    """The flags that both commands have."""
    for flag in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else."),
        click.option("--dtype", default="auto", show_default=True, help="auto, float32, float16, int8, …"),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
    ):
        command = flag(command)
    return command


@click.command("next")
@click.argument("model")
@click.argument("prompt")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many tokens to show.")
@click.option("--chain", is_flag=True, help="Also show how likely each token of the prompt was.")
@_common
def next_token(
    model: str, prompt: str, top: int, chain: bool, as_json: bool, device: str, dtype: str
) -> None:
    """Show which token a model expects next.

    p(X) = p(x₁) p(x₂ | x₁) … : with --chain, factor by factor, and log p(X) as their sum.
    """
    import torch

    generator = _with_ability(model, "next_token", "tell the next token", device, dtype)
    with torch.inference_mode():
        prediction = generator.next_token(prompt)
    expected, factors = prediction.top(top), prediction.chain() if chain else []
    total = sum(nats for _, _, nats in factors)
    if as_json:
        result: dict[str, Any] = {"prompt": prompt, "next": [_row(*each) for each in expected]}
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
    """A token's text on one line, its spaces and breaks to be seen."""
    return json.dumps(text, ensure_ascii=False)


def _row(token: int, text: str, probability: float) -> dict[str, Any]:
    return {"token": token, "text": text, "probability": probability}


@click.command()
@click.argument("model")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="For bounds by sampling.")
@_common
def score(model: str, files: tuple[str, ...], seed: int, as_json: bool, device: str, dtype: str) -> None:
    """Say how likely a model finds files: texts (- reads the standard input) or images.

    Texts: log-likelihood, perplexity per token and bits per byte; longer than the context, they are read in
    windows that overlap by half. Images: log-likelihood and bits per dimension.
    """
    read = [_read(file) for file in files]
    generator = _with_ability(model, "log_likelihood", "score data", device, dtype)
    figures = {
        file: _figures(_score(generator, content, seed + number), content)
        for number, (file, content) in enumerate(zip(files, read, strict=True))
    }
    if as_json:
        rows = [{"file": file, **row} for file, row in figures.items()]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for file, row in figures.items():
        words = [f"{name.replace('_', ' ')} {_told(value)}" for name, value in row.items()]
        click.echo(f"{file}: {', '.join(words)}")


def _told(value: float | int | bool) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _with_ability(model: str, method: str, what: str, device: str, dtype: str) -> Any:
    """The model's generator, if it has the method."""
    loaded: Model = zoo_core.load(model, device=device, dtype=dtype)
    if not hasattr(loaded.generator, method):
        raise ZooError(
            f"{loaded.card.id} cannot {what}.", f"Models say so under capabilities: zoo show {loaded.card.id}"
        )
    return loaded.generator


def _read(file: str) -> str | torch.Tensor:
    """A text, or an image as (1, c, h, w) uint8."""
    if file == "-":
        content = sys.stdin.buffer.read()
    elif Path(file).suffix.lower() in IMAGES:
        return _read_image(file)
    else:
        try:
            content = Path(file).read_bytes()
        except OSError as error:
            raise ZooError(f"{file} cannot be read: {error.strerror}.", "Check the path.") from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ZooError(
            f"{file} is no text in UTF-8: byte {error.start} does not fit.", "Convert it, or name an image."
        ) from error
    if not text:
        raise ZooError(f"{file} is empty.", "Name a file with something in it.")
    return text


def _read_image(file: str) -> torch.Tensor:
    import numpy as np
    import torch
    from PIL import Image

    try:
        with Image.open(file) as image:
            array = np.array(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ZooError(f"{file} cannot be read as an image.", "Name a PNG or JPEG file.") from error
    pixels = torch.from_numpy(array)
    return (pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1))[None]


def _score(generator: Any, content: str | torch.Tensor, seed: int) -> Score:
    import torch

    with torch.inference_mode():
        found: Score = generator.log_likelihood(
            [content] if isinstance(content, str) else content, zoo_core.Noise([seed])
        )
    if not int(found.size[0]):
        raise ZooError("One token alone has no likelihood under this model.", "Give a longer text.")
    return found


def _figures(found: Score, content: str | torch.Tensor) -> Mapping[str, float | int | bool]:
    """The figures that are usual for texts, or for images."""
    nats, size = float(found.nats[0]), int(found.size[0])
    rate = -nats / size
    figures: dict[str, float | int | bool] = {"nats": nats}
    if isinstance(content, str):
        bytes_ = len(content.encode())
        bits = -nats / math.log(2) / bytes_
        figures |= {"tokens": size, "bytes": bytes_, "perplexity": math.exp(rate), "bits_per_byte": bits}
    else:
        figures |= {"dimensions": size, "bits_per_dimension": rate / math.log(2)}
    return figures | ({"bound": True} if found.bound else {})
