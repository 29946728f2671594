"""Being recorded: a file says enough to make its sample again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from zoo_core.testing.conformance.check import check
from zoo_core.testing.conformance.computing import the_dtype_it_names_is_the_one_it_computes_in
from zoo_core.testing.conformance.fresh import in_a_fresh_process, make_again
from zoo_core.testing.conformance.subject import Subject


@check(
    "Depend on nothing but checkpoint, options, prompt and stream: not on hash() of a text, the order of a "
    "set, the time, or what was run before.",
    needs=(the_dtype_it_names_is_the_one_it_computes_in,),
)
def a_saved_sample_can_be_made_again(subject: Subject) -> None:
    """What a file says about its sample is enough to make the same sample again, in another process too.

    This is what ``zoo replay`` promises of every file, years later. Within one process much is the same that
    differs in the next: strings hash otherwise, and nothing has been run yet.
    """
    run = subject.run
    (sample,) = run.model.generate(run.prompt, seed=11, batch_size=1, **run.options)
    with tempfile.TemporaryDirectory() as folder:
        match = in_a_fresh_process(make_again, subject.card, sample.save(Path(folder)))
    assert match.verdict != "different", match.sentence
