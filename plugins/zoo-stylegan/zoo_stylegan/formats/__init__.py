"""Checkpoint formats: the plugin's own folder, NVIDIA's pickles and plain ``.pt`` files."""
