"""The networks: denoisers and autoencoders, each named as its tensors are in published checkpoints."""
