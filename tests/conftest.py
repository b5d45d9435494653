"""Shared settings of the tests."""

import sys
from pathlib import Path

from hypothesis import settings

# How long an example takes says nothing on a busy machine.
settings.register_profile("makespan", deadline=None)
settings.load_profile("makespan")

# importlib mode does not put this folder on the path; the tests share two modules that lie in it.
sys.path.insert(0, str(Path(__file__).parent))
