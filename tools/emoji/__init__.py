"""Noto's emoji: a data set of images with captions, and the judge of what a model makes of it."""
