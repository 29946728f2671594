"""A server for the zoo; its command, `zoo serve`, is declared in `zoo.toml`."""
