"""Training for the zoo."""
