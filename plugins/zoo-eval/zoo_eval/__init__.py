"""Evaluation: how far samples look like the data, how likely the data are, and what is copied."""

from __future__ import annotations
