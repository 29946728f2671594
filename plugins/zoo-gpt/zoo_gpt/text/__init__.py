"""Language models: tokenizers, chat templates, text generation, scoring and training."""
