"""Denoising diffusion for the zoo: the hook implementations, importing nothing heavy."""
