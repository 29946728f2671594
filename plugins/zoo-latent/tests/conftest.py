"""Make the builders of small pipelines importable, and take fixtures of the core's."""

import sys
from pathlib import Path

from zoo_core.testing.fixtures import isolated_home, loopback_hub

__all__ = ["isolated_home", "loopback_hub"]

sys.path.insert(0, str(Path(__file__).parent))
