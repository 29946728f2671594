"""Figures of docs/repositories.md and docs/decisions, measured on text models."""
