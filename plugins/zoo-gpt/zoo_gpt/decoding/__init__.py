"""Decoding: sample token after token, score sequences, and arrange a network for fast inference."""
