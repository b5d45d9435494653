"""What a user can get wrong: such an error is one line and exit code 2, anything else is a bug with a traceback."""

from makespan.harness.laws import BrokenLaw
from makespan.runtime.engine import CannotRun
from makespan.runtime.policy_answers import PolicyError
from makespan.schedulers.registry import BrokenPlugin, UnknownName

USER_ERRORS = (ValueError, UnknownName, BrokenPlugin, PolicyError, CannotRun, BrokenLaw, OSError, ModuleNotFoundError)
EXIT_CODE = 2


def one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
