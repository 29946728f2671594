"""The engine: jobs wait in a queue per model, and samples of strangers share batches."""
