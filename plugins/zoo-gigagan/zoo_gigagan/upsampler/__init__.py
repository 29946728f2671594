"""Upsampling: GigaGAN's upsampler, which the AuraSR checkpoints are of, tile by tile, and its training."""
