"""A decoder's layers as compiled code on a CPU: one call a token."""
