"""The latent space: style mixing, interpolation, inversion, and StyleGAN3's transforms."""
