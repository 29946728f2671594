"""A conversation with a model: the messages so far, the seeds, and the file that keeps its answers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OutputError
from zoo_core.noise import check_seed
from zoo_core.running.model import Model
from zoo_core.running.planning import Request, make_plan
from zoo_core.running.progress import Progress
from zoo_core.samples.lines import JsonLines, read_lines
from zoo_core.samples.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence


class Conversation:
    """A conversation.

    Args:
        model: A model with the capability ``chat``.
        options: Its options.
        system: Instructions, the first message.
        seed: Seed of the first answer; the others count up. None: random.
    """

    def __init__(
        self, model: Model, options: Mapping[str, Any], *, system: str | None, seed: int | None
    ) -> None:
        self.model, self.options = model, options
        self.start: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        self.messages: list[Mapping[str, Any]] = list(self.start)
        self.seed = secrets.randbelow(2**32) if seed is None else check_seed(seed)
        self.answers: list[Sample] = []
        self._file: JsonLines | None = None
        self._interrupted: tuple[Request, Progress] | None = None

    def check(self) -> None:
        """Refuse options that the model does not accept, before the first message is typed."""
        self._request("Hello")

    def open(self, path: Path, *, resume: bool, overwrite: bool) -> None:
        """Write every answer to a file from now on.

        Args:
            path: A .jsonl file.
            resume: Continue the conversation that it ends with.
            overwrite: Replace it.

        Raises:
            OutputError: It exists, or cannot be written or read.
        """
        self._file = JsonLines(_jsonl(path), resume=resume, overwrite=overwrite)
        if resume:
            for text, record in read_lines(path):
                if not isinstance(record.prompt, list):
                    raise OutputError(f"{path} is not a conversation.", "Give a file that zoo chat wrote.")
                self.messages = [*record.prompt, _said_by_model(text)]
                self.seed = record.seed + 1

    def ask(self, message: str, on_step: Callable[[Progress], object] = lambda progress: None) -> Sample:
        """Return the answer to a message. If it fails or is interrupted, nothing was said.

        Raises:
            ZooError: The conversation is longer than the model's context, or the model fails.
        """
        request = self._request(message)
        self._interrupted = None

        def watch(progress: Progress) -> None:
            self._interrupted = request, progress
            on_step(progress)

        (sample,) = self.model.make([request], on_step=watch)
        self._keep(sample)
        return sample

    def keep_interrupted(self) -> bool:
        """Keep what the last answer had said when it was interrupted; return False if that is nothing.

        Its record asks for as many tokens as there were, so that it can be made again.
        """
        if self._interrupted is None:
            return False
        request, progress = self._interrupted
        text = progress.step.texts[0] if progress.step.texts else ""
        if not text:
            return False
        metadata = {**(progress.step.metadata[0] if progress.step.metadata else {}), "ended": "interrupted"}
        if "max_tokens" in request.options and "tokens" in metadata:
            request = replace(request, options={**request.options, "max_tokens": metadata["tokens"]})
        self._keep(Sample(self.model.record(request, metadata), request.index, text=text))
        return True

    def set_seed(self, seed: int) -> None:
        """Set the seed of the next answer."""
        self.seed = check_seed(seed)

    def clear(self) -> None:
        """Forget the messages but the system's."""
        self.messages = list(self.start)

    def save(self, path: Path) -> int:
        """Write all answers to a new .jsonl file; return their number.

        Raises:
            OutputError: There are none, the file exists, or it cannot be written.
        """
        if not self.answers:
            raise OutputError("Nothing was said yet.", "Write a message first.")
        file = JsonLines(_jsonl(path))
        try:
            for sample in self.answers:
                file.write(sample)
        finally:
            file.close()
        return len(self.answers)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def _request(self, message: str) -> Request:
        prompt: Sequence[Mapping[str, Any]] = [*self.messages, {"role": "user", "content": message}]
        plan = make_plan(self.model.card, prompt, n=1, seed=self.seed, seeds=None, options=self.options)
        return next(iter(plan))

    def _keep(self, sample: Sample) -> None:
        assert isinstance(sample.record.prompt, list)
        self.answers.append(sample)
        self.messages = [*sample.record.prompt, _said_by_model(sample.text or "")]
        self.seed = sample.seed + 1
        self._interrupted = None
        if self._file:
            self._file.write(sample)


def _said_by_model(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _jsonl(path: Path) -> Path:
    if path.suffix.lower() != ".jsonl":
        raise OutputError(f"{path}: conversations are written as .jsonl.", "Change the suffix: talk.jsonl")
    return path
