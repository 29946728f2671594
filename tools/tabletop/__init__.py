"""A synthetic data set: renders of a cube, a ball or a teddy bear on a tabletop, with captions."""
