"""What a client asks of a Hub to publish: make a repository, check a card, send LFS objects, commit.

A commit is one step: it appears complete or not at all. An object that arrived stays, so that an interrupted
upload need not send it again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from zoo_core.testing.hub import Fault, LoopbackHub

LFS = ("*.safetensors", "*.bin", "*.gguf", "*.png")
"""Files that the Hub stores in LFS, as its ``.gitattributes`` says."""

Answer = tuple[int, Mapping[str, Any]]
"""A status and a JSON object."""


def answer_post(hub: LoopbackHub, path: str, body: bytes) -> Answer:
    """Answer a POST of an account that may write; the handler has checked the token."""
    for pattern, answer in _ROUTES.items():
        if match := re.fullmatch(pattern, path):
            return answer(hub, body, *(unquote(group) for group in match.groups()))
    return 404, {"error": "Not found."}


def receive(hub: LoopbackHub, path: str, body: bytes, fault: Fault | None) -> int:
    """Store an LFS object that was sent with PUT to ``/lfs/SHA256``; return the status."""
    if fault and fault.kind == "slow":
        time.sleep(fault.seconds)
    if hashlib.sha256(body).hexdigest() != path.removeprefix("/lfs/"):
        return 400
    hub.objects[path.removeprefix("/lfs/")] = body
    return 200


def _create(hub: LoopbackHub, body: bytes) -> Answer:
    asked = json.loads(body)
    repo = f"{asked['organization'] or 'user'}/{asked['name']}"
    if repo in hub.repositories:
        return 409, {"error": "You already created this model repo", "url": f"{hub.endpoint}/{repo}"}
    hub.add(repo, {".gitattributes": b""}, private=asked.get("visibility") == "private")
    return 200, {"url": f"{hub.endpoint}/{repo}"}


def _check_card(hub: LoopbackHub, body: bytes) -> Answer:
    """Check the metadata of a README.md by the rules that the Hub states for a model card."""
    import yaml  # type: ignore[import-untyped]

    content = json.loads(body)["content"]
    match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
    if match is None:
        return 200, {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
    try:
        metadata = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return 400, {"errors": [{"message": str(error)}], "warnings": []}
    texts = ("license", "license_name", "library_name", "pipeline_tag")
    wrong = [f'"{key}" must be a string' for key in texts if not isinstance(metadata.get(key, ""), str)]
    if not all(isinstance(tag, str) for tag in metadata.get("tags", [])):
        wrong.append('"tags" must be strings')
    return (400 if wrong else 200), {"errors": [{"message": each} for each in wrong], "warnings": []}


def _preupload(hub: LoopbackHub, body: bytes, repo: str, revision: str) -> Answer:
    repository = hub.repositories.get(repo)
    if repository is None:
        return 404, {"error": "Repository not found"}
    tree = repository.commits[repository.resolve(revision) or ""]
    files = []
    for asked in json.loads(body)["files"]:
        path, there = asked["path"], tree.get(asked["path"])
        files.append(
            {
                "path": path,
                "uploadMode": "lfs" if any(fnmatchcase(path, each) for each in LFS) else "regular",
                "shouldIgnore": False,
                "oid": (there.sha256 if there.lfs else there.git_sha1) if there else None,
            }
        )
    return 200, {"files": files}


def _batch(hub: LoopbackHub, body: bytes, repo: str) -> Answer:
    """Say where to send each object; one that is here has no actions."""
    objects = []
    for asked in json.loads(body)["objects"]:
        described = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] not in hub.objects:
            upload = {"href": f"{hub.endpoint}/lfs/{asked['oid']}"}
            described["actions"] = {"upload": upload, "verify": {"href": f"{hub.endpoint}/api/lfs/verify"}}
        objects.append(described)
    return 200, {"transfer": "basic", "objects": objects}


def _verify(hub: LoopbackHub, body: bytes) -> Answer:
    asked = json.loads(body)
    content = hub.objects.get(asked["oid"])
    return (200, {}) if content is not None and len(content) == asked["size"] else (404, {"error": "Missing"})


def _commit(hub: LoopbackHub, body: bytes, repo: str, revision: str) -> Answer:
    """Apply the lines of a commit to the branch: files, LFS files, deletions."""
    repository = hub.repositories.get(repo)
    if repository is None:
        return 404, {"error": "Repository not found"}
    tree = repository.commits[repository.resolve(revision) or ""]
    files = {name: file.content for name, file in tree.items()}
    for line in body.splitlines():
        operation = json.loads(line)
        key, value = operation["key"], operation["value"]
        if key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            if value["oid"] not in hub.objects:
                return 400, {"error": f"LFS object {value['oid']} was never uploaded"}
            files[value["path"]] = hub.objects[value["oid"]]
        elif key == "deletedFile":
            del files[value["path"]]
        elif key != "header":
            return 400, {"error": f"The loopback Hub does not know the operation {key}"}
    card = files.get("README.md", b"").decode()
    license = re.search(r"^license: (\S+)$", card, re.MULTILINE)
    commit = hub.add(
        repo,
        files,
        branch=revision,
        lfs=LFS,
        license=license[1] if license else repository.license,
        private=repository.private,
        gated=repository.gated,
        granted=repository.granted,
    )
    return 200, {"commitUrl": f"{hub.endpoint}/{repo}/commit/{commit}", "commitOid": commit}


_ROUTES: Mapping[str, Callable[..., Answer]] = {
    r"/api/repos/create": _create,
    r"/api/validate-yaml": _check_card,
    r"/api/models/(.+)/preupload/([^/]+)": _preupload,
    r"/(.+)\.git/info/lfs/objects/batch": _batch,
    r"/api/lfs/verify": _verify,
    r"/api/models/(.+)/commit/([^/]+)": _commit,
}
"""Who answers which address; the groups are a repository and a revision."""
