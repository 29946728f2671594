"""Run a model: plan the samples, load the generator, make them batch by batch."""
