"""``zoo push``: publish a model's folder on the Hub, with a card and samples."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import click

from zoo_core.cli.console import device_option, json_option, megabytes, print_json, print_table, say, write
from zoo_core.environment import Environment
from zoo_core.files import cache_dir, write_atomically
from zoo_core.manifest.cards import EmbeddedWeights, LocalWeights, ModelCard


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("repo", metavar="ORG/REPO")
@click.option("--public", is_flag=True, help="Let everybody see the repository. [default: only its owner]")
@click.option("--license", metavar="NAME", help="Licence of the weights, such as mit or cc-by-4.0.")
@click.option("--summary", metavar="TEXT", help="One sentence that says what the model makes.")
@click.option(
    "--samples",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Show samples that zoo run made with this model. [default: make 8 images or 3 texts]",
)
@click.option("--no-samples", is_flag=True, help="Show no samples.")
@click.option(
    "--message", default="zoo push", metavar="TEXT", help="Message of the commit.", show_default=True
)
@click.option("--dry-run", is_flag=True, help="Show what would be uploaded, with its card. Upload nothing.")
@device_option
@json_option
def push(
    folder: Path,
    repo: str,
    public: bool,
    license: str | None,
    summary: str | None,
    samples: Path | None,
    no_samples: bool,
    message: str,
    dry_run: bool,
    device: str,
    as_json: bool,
) -> None:
    """Publish a model's folder on the Hub.

    In one commit go its weights (safetensors), configs, training record, samples, and a card: the README.md
    in FOLDER, or one that is made. Log in first: hf auth login, or set HF_TOKEN. An interrupted upload
    continues when the command is typed again. Prints the table that lists the model in a plugin's zoo.toml.
    """
    from zoo_core.cli.push_samples import copy_samples, make_samples, shown_in
    from zoo_core.weights import get_checkpoint, publish
    from zoo_core.weights.model_card import About, manifest_table, model_card

    if samples and no_samples:
        raise click.UsageError("Give --samples or --no-samples, not both.")
    environment = Environment.current()
    repo = publish.repository_name(repo)
    card = environment.resolve(folder)
    files = publish.files_of(card)
    weights = list(files)  # the licence and the training record are no part of the model
    if not dry_run:
        publish.check_target(repo, files, public=public)
    digest = get_checkpoint(card).digest
    made = cache_dir() / "push" / f"{repo.replace('/', '--')}-{digest.rpartition(':')[2][:16]}"
    if samples:
        copy_samples(samples, digest, repo, made / "samples")
    elif not no_samples:
        make_samples(card, repo, made / "samples", environment, device)
    shown = [] if no_samples else shown_in(made / "samples")
    for path in sorted((made / "samples").iterdir()) if shown else ():
        files[f"samples/{path.name}"] = path

    known = _known(card, environment)
    about = About(
        repo,
        license or (None if known.license == "unknown" else known.license),
        summary or known.summary,
        publish.parameters_in(files),
    )
    readme = folder / publish.README
    if not readme.is_file():
        readme = made / publish.README
        write_atomically(readme, model_card(known, about, folder, shown).encode(), overwrite=True)
    files = {publish.README: readme, **files, **publish.files_beside(folder)}
    publish.check_page(readme)
    listed = publish.sizes_and_digests(files)
    if about.license is None and not as_json:
        say("No licence is stated, so nobody else may use it. State one: --license mit")
    commit = None
    if not dry_run:
        say(f"Uploading {len(files)} files to {repo} ...")
        commit = publish.push(repo, files, public=public, message=message)
        shutil.rmtree(made, ignore_errors=True)
    if as_json:
        rows = [{"name": name, "bytes": size, "sha256": digest} for name, (size, digest) in listed.items()]
        print_json({"repo": repo, "public": public, "commit": commit, "files": rows})
    elif commit is None:
        print_table(
            ("File", "Size", "sha256"),
            [(name, megabytes(size), digest[:12]) for name, (size, digest) in listed.items()],
        )
        total = megabytes(sum(size for size, _ in listed.values()))
        write(f"{total} would go to {repo}, {'public' if public else 'private'}. Its {publish.README}:\n")
        write(readme.read_text(encoding="utf-8"))
    else:
        write(f"{repo} has it at commit {commit}. Run it: zoo run {repo}", err=True)
        write(manifest_table(known, about, commit, {name: listed[name] for name in weights}))


def _known(card: ModelCard, environment: Environment) -> ModelCard:
    """Return the card of the built-in model whose folder this is, which says more; else the card."""
    assert isinstance(card.weights, LocalWeights)
    folder = card.weights.folder.resolve()
    for each in environment.catalog.models.values():
        if isinstance(each.weights, EmbeddedWeights) and each.weights.folder.resolve() == folder:
            return replace(each, prompt=card.prompt, capabilities=card.capabilities)
    return card
