"""The latent space: style mixing, inversion, and StyleGAN3's transforms."""
