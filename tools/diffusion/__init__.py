"""Figures of docs/diffusion-measured.md."""
