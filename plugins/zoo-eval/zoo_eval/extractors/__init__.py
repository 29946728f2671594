"""Feature extractors, one module each; ``zoo.toml`` names them."""
