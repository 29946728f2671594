"""Engines run tasks on several workers: processes of this machine or, in plugins, other machines."""
