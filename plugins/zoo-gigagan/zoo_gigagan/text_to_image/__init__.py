"""Text to image: GigaGAN's generator, its prompts, its training and ``zoo mix-prompts``."""
