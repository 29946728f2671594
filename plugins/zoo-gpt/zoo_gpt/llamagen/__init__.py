"""LlamaGen: images as grids of codes; the published transformers, the VQ tokenizer, and generation."""
