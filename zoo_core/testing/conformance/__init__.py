"""The conformance suite: what a plugin's author inherits to prove that a model keeps the contracts.

    from zoo_core.testing import GeneratorConformance

    class TestFaces(GeneratorConformance):
        model = "dcgan-faces"
        options = {"steps": 2}

and ``pytest``; or ``zoo check zoo-dcgan``, which runs the same checks on all of a plugin's models and needs
no pytest. Every check says in its docstring which contract it proves, and why: ``zoo check --explain``,
docs/checks.md. What a model does not claim is skipped by what its card declares: scores by ``capabilities``,
prompts by ``prompt``, images and texts by ``output``. A check that cannot be judged because of what another
one finds is skipped too, so that a mistake shows where it is.
"""
