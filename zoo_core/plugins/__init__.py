"""Installed plugins: found without importing them, loaded one at a time, their failures contained."""
