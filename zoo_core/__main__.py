"""``python -m zoo_core`` is the same as ``zoo``."""

from zoo_core.cli import main

if __name__ == "__main__":
    main()
