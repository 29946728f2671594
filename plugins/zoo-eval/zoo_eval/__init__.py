"""Evaluation: FID, KID, precision and recall, memorization and likelihood."""

from __future__ import annotations
