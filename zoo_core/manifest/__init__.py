"""A plugin's manifest, ``zoo.toml``: cards, how they are read from TOML, checked and cached."""
