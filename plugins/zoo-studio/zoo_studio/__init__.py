"""A page for the zoo; its command, `zoo studio`, is declared in `zoo.toml`."""
