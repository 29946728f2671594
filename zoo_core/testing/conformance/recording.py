"""Recording: a saved file contains everything needed to reproduce its sample."""

from __future__ import annotations

import tempfile
from pathlib import Path

from zoo_core.testing.conformance.check import check
from zoo_core.testing.conformance.computing import the_reported_dtype_is_used
from zoo_core.testing.conformance.fresh import in_a_fresh_process, make_again
from zoo_core.testing.conformance.subject import ModelSubject


@check(
    "Depend only on checkpoint, options, prompt and noise: not on hash() of a string, the order "
    "of a set, the time, or earlier runs.",
    needs=(the_reported_dtype_is_used,),
)
def a_saved_sample_can_be_replayed(subject: ModelSubject) -> None:
    """The metadata in a file is enough to reproduce its sample in another process.

    ``zoo replay`` promises this for every file. Some differences appear only in a new process: strings hash
    differently, and nothing has run yet.
    """
    run = subject.run
    (sample,) = run.model.generate(run.prompt, seed=11, batch_size=1, **run.options)
    with tempfile.TemporaryDirectory() as folder:
        match = in_a_fresh_process(make_again, subject.card, sample.save(Path(folder)))
    assert match.verdict != "different", match.sentence
