"""Training: an autoencoder, then a transformer on its latents."""
