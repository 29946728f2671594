"""Training for the zoo: ``zoo train``, one loop for every family of models.

Implements no hook: ``zoo.toml`` names its command.
"""
