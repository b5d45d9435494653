"""A policy in another package: longest prompt first, on the least loaded instance."""

from makespan.schedulers.placements import LeastInFlight
from makespan.schedulers.policy import Policy


class LongestPromptFirst:
    def keys(self, view, rows):
        return -view.requests.prompt_tokens[rows].astype(float)


longest_prompt_first = Policy(order=LongestPromptFirst(), placement=LeastInFlight(), source="a sample")
