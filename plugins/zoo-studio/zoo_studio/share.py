"""A gallery as one static HTML file: images, texts and their records; it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from zoo_core import OutputError, Record, ZooError, read_record, write_atomically

_TYPES = {".png": "png", ".apng": "apng", ".gif": "gif", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
_TEXTS = (".txt", ".jsonl")

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Gallery of the zoo</title>
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 70rem; margin: 1rem auto; padding: 0 1rem }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(14rem, 100%), 1fr)); gap: 1rem }}
figure {{ margin: 0; min-width: 0 }} img {{ width: 100%; image-rendering: pixelated; border-radius: 4px }}
.large {{ image-rendering: auto }} .text {{ grid-column: 1 / -1 }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere }} details pre {{ font-size: .8rem }}
</style><h1>Gallery of the zoo</h1><p>{count}. Each image file has its record inside: <code>zoo replay</code>
makes it again.</p><main>{figures}</main></html>
"""


@dataclass(frozen=True)
class Shared:
    """One sample of a gallery."""

    record: Record
    text: str | None = None
    image: bytes = b""
    """An image file, with its record in it."""
    kind: str = "png"


def gallery_page(samples: Iterable[Shared]) -> str:
    """Return the page."""
    figures = [_figure(sample) for sample in samples]
    count = f"{len(figures)} sample{'' if len(figures) == 1 else 's'}"
    return _PAGE.format(count=count, figures="".join(figures))


def write_gallery(path: Path, files: Sequence[str]) -> int:
    """Write the samples of files and folders as one page; return their number.

    Raises:
        ZooError: There is none, or a file that was named has no record.
    """
    samples = [sample for name in files for sample in _samples_of(Path(name))]
    if not samples:
        raise ZooError(
            "There is nothing to share.", f"Name files or folders: zoo studio --share-file {path} out/"
        )
    write_atomically(path, gallery_page(samples).encode())
    return len(samples)


def _samples_of(path: Path) -> Iterator[Shared]:
    if not path.is_dir():
        yield from _read(path)
        return
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in (*_TYPES, *_TEXTS):
            try:
                yield from _read(file)
            except OutputError:  # not every image in a folder is the zoo's
                continue


def _read(path: Path) -> Iterator[Shared]:
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield Shared(read_record(f"{path}:{number}"), text=json.loads(line)["text"])
        return
    record = read_record(f"{path}:1" if suffix == ".png" else path)
    if suffix in _TYPES:
        yield Shared(record, image=path.read_bytes(), kind=_TYPES[suffix])
    else:
        yield Shared(record, text=path.read_text(encoding="utf-8"))


def _figure(sample: Shared) -> str:
    record = sample.record
    title = escape(f"{record.model}, seed {record.seed}")
    details = escape(json.dumps(record.to_json(), indent=2, ensure_ascii=False))
    if sample.image:
        data = base64.b64encode(sample.image).decode()
        body = f'<img src="data:image/{sample.kind};base64,{data}" alt="{title}">'
    else:
        body = f"<pre>{escape(record.prompt_text)}{escape(sample.text or '')}</pre>"
    kind = "image" if sample.image else "text"
    return (
        f'<figure class="{kind}">{body}<figcaption>{title}'
        f"<details><summary>Record</summary><pre>{details}</pre></details></figcaption></figure>"
    )
