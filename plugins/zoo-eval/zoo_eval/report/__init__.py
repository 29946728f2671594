"""The report of an evaluation, as a table, as JSON and as an HTML page."""
