"""Shared settings of the tests. A file's tests run in one process (``--dist loadfile``), so that its engines start once."""

import os
import sys
from pathlib import Path

from hypothesis import settings

# Tests run side by side, one on each core: more threads would wait for each other most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says nothing on a busy machine.
settings.register_profile("makespan", deadline=None)
settings.load_profile("makespan")

# importlib mode does not put this folder on the path; the tests share two modules that lie in it.
sys.path.insert(0, str(Path(__file__).parent))
