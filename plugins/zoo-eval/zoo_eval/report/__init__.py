"""What an evaluation found out, as a table, as JSON and as a page."""
