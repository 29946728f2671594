"""The transformer: one network for all published families, their configs and their checkpoints."""
