"""Publish a model's folder in a Hub repository, through the Hub's own client.

Everything is sent first, then one commit makes it visible. What arrived is not sent again, so an interrupted
upload continues when it is repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path, PurePosixPath

from zoo_core.errors import WeightsError, first_line, some
from zoo_core.manifest.cards import LocalWeights, ModelCard
from zoo_core.weights import commits, hub, lock
from zoo_core.weights.cache import endpoint, is_offline
from zoo_core.weights.checkpoint import FORMATS
from zoo_core.weights.digest import git_blob_sha1, map_in_threads, sha256
from zoo_core.weights.model_card import CURVE, PLOT, RECORD
from zoo_core.weights.names import parse_hub_name
from zoo_core.weights.reading import tensor_shapes

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
README = "README.md"
_BESIDE = ("LICENSE", "LICENSE.md", "LICENSE.txt", RECORD, CURVE, PLOT)


def repository_name(text: str) -> str:
    """Return ``ORG/REPO``, given any name of a repository.

    Raises:
        WeightsError: It is no name of a repository, or says more than that.
    """
    name = parse_hub_name(text)
    if name is None or "/" not in name.repo or name.revision or name.file or name.variant:
        raise WeightsError(f"{text!r} is no repository to push to.", "Write it as ORG/REPO.")
    return name.repo


def files_of(card: ModelCard) -> dict[str, Path]:
    """Return the files of a local model by their path: configs and weights.

    Raises:
        WeightsError: It is no local folder, or its weights are pickles.
    """
    weights = card.weights
    if not isinstance(weights, LocalWeights):
        raise WeightsError(
            f"{card.id} is not a folder.", "Give the folder of a model: zoo push FOLDER ORG/REPO"
        )
    if pickles := [name for name in weights.files if name.endswith(PICKLES)]:
        raise WeightsError(
            f"{some(pickles)}: pickles are not published, because opening one can run code.",
            f"Convert them to safetensors: zoo convert {weights.folder / pickles[0]} -o FOLDER",
        )
    return {name: weights.folder / name for name in weights.files}


def files_beside(folder: Path) -> dict[str, Path]:
    """Return the licence and the training record of a model's folder, by their path."""
    return {name: folder / name for name in _BESIDE if (folder / name).is_file()}


def parameters_in(files: Mapping[str, Path]) -> int | None:
    """Return the number of parameters in the safetensors among the files; None if there are none."""
    shapes = [tensor_shapes(path) for name, path in files.items() if name.endswith(".safetensors")]
    return sum(prod(shape) for each in shapes for shape in each.values()) or None


def check_target(repo: str, files: Mapping[str, Path], *, public: bool) -> None:
    """Check that a repository may be pushed to, before anything is made or sent. It need not exist.

    Raises:
        WeightsError: Nobody is logged in, it is public or private against the wish, or holds other weights.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if is_offline():
        raise WeightsError("HF_HUB_OFFLINE forbids pushing.", "Unset HF_HUB_OFFLINE.")
    if get_token() is None:
        raise WeightsError("Pushing needs an account on the Hub.", "Log in: hf auth login, or set HF_TOKEN.")
    with hub.explained(repo, "main", writing=True):
        try:
            info = hub.client().model_info(repo, timeout=10)
        except RepositoryNotFoundError:
            return
    if bool(info.private) == public:
        state, remedy = (
            ("private", "Leave out --public, or make it public first")
            if info.private
            else ("public", "Pass --public to publish there, or name a new repository")
        )
        raise WeightsError(f"{repo} exists and is {state}.", f"{remedy}: {endpoint()}/{repo}/settings")
    there = [file.rfilename for file in info.siblings or ()]
    if others := [
        name for name in there if name.endswith((*FORMATS, *PICKLES, ".gguf")) and name not in files
    ]:
        raise WeightsError(
            f"{repo} holds other weights: {some(others)}.",
            f"Delete them on {endpoint()}/{repo}/tree/main, or push to a new repository.",
        )


def check_page(readme: Path) -> None:
    """Check the metadata of a README.md as far as the client can; the Hub checks them again.

    Raises:
        WeightsError: They are not YAML, or hold what the Hub would refuse.
    """
    from huggingface_hub import ModelCard as Page
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        Page(readme.read_text(encoding="utf-8"))
    except (YAMLError, ValueError, OSError) as error:
        raise WeightsError(
            f"The metadata of {readme} cannot be read: {first_line(error)}.",
            "Correct the lines between --- at its beginning, or move it away to get a new one.",
        ) from error


def push(repo: str, files: Mapping[str, Path], *, public: bool, message: str) -> str:
    """Upload the files in one commit, check what the Hub then holds, and return the commit.

    Args:
        repo: ``ORG/NAME``; it is made, private unless ``public``, if it does not exist.
        files: By their path in the repository.
        public: Whether everybody may see a new repository.
        message: Of the commit.

    Raises:
        WeightsError: It is not allowed, the Hub cannot be reached, or it holds something else afterwards.
        KeyboardInterrupt: The user stopped it; the message says that what was sent is kept.
    """
    from huggingface_hub import CommitOperationAdd

    try:
        with hub.explained(repo, "main", writing=True), hub.bars(sys.stderr.isatty()):
            client = hub.client()
            client.create_repo(repo, private=not public, exist_ok=True)
            operations = [CommitOperationAdd(name, path) for name, path in files.items()]
            with _page_explained():
                commit = str(client.create_commit(repo, operations, commit_message=message).oid)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What was sent is kept. Type the command again to continue.") from None
    _check(repo, files, commits.ask(repo, commit))
    return commit


def sizes_and_digests(files: Mapping[str, Path]) -> dict[str, tuple[int, str]]:
    """Return the size in bytes and the sha256 of each file."""
    digests = map_in_threads(sha256, files.values())
    return {name: (files[name].stat().st_size, each) for name, each in zip(files, digests, strict=True)}


@contextmanager
def _page_explained() -> Iterator[None]:
    """Raise what the Hub says against the metadata of README.md, which it checks first."""
    try:
        yield
    except ValueError as error:
        title, _, reasons = str(error).partition("\n")
        if README not in title:
            raise
        raise WeightsError(
            f"The Hub refuses the metadata of {README}: {reasons.lstrip('- ')}.",
            "Correct the lines between --- at its beginning.",
        ) from error


def _check(repo: str, files: Mapping[str, Path], listing: lock.Listing) -> None:
    """Raise WeightsError unless the commit holds exactly these contents under these names."""
    for name, path in files.items():
        claim = listing.files.get(name, lock.Claim())
        digest = sha256(path) if claim.hash and len(claim.hash) == 64 else git_blob_sha1(path)
        if claim.hash != digest:
            raise WeightsError(
                f"{repo} holds another {PurePosixPath(name).name} than was sent.",
                "Type the command again; if it happens again, report it.",
            )
