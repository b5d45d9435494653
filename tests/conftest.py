"""Shared settings of the tests."""

import sys
from pathlib import Path

# importlib mode does not put this folder on the path; the tests share two modules that lie in it.
sys.path.insert(0, str(Path(__file__).parent))
