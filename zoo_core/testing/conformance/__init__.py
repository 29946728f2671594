"""The conformance suite: inherit it to prove that a model keeps the zoo's contracts.

    from zoo_core.testing import GeneratorConformance

    class TestFaces(GeneratorConformance):
        model = "dcgan-faces"
        options = {"steps": 2}

Then run ``pytest``; or run ``zoo check zoo-dcgan``, which applies the same checks to all models of a plugin
without pytest. The docstring of a check says which contract it proves and why: see ``zoo check --explain`` or
docs/checks.md. The card decides which checks apply: scores by ``capabilities``, prompts by ``prompt``, images
and texts by ``output``. A check is also skipped if a check that it needs fails, so that a mistake is reported
once.
"""
