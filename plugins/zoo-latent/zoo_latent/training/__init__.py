"""Training: an autoencoder, then a transformer on its latents; a LoRA of a model that is there."""
