"""The modules of fresh plugins, as ordinary code: checked, typed and tested with the rest.

A fresh plugin gets copies of a generator (``gan_image``, as ``generator.py``), of the modules it imports and,
where asked for, of its training (``train_gan_image``, as ``training.py``). They use public names of the core
alone, and say ``MyModel`` and ``mymodel`` where the plugin's own names belong.
"""
