"""Modules of new plugins, as ordinary code: linted, type-checked and tested like the rest.

``zoo new`` copies a generator (``gan_image``, as ``generator.py``), the modules that it imports and, with
``--training``, its training (``train_gan_image``, as ``training.py``). The modules use only public names of
the core. ``MyModel`` and ``mymodel`` stand for the plugin's own names.
"""
