"""The engine ``ray``: make samples on the machines of a Ray cluster."""
