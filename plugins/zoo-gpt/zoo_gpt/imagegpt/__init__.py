"""ImageGPT: images as sequences of colours; palettes, generation, completion, scoring and training."""
