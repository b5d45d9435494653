"""Every policy that ships, one line each, with its source. Reading this is reading the table of a survey."""

from makespan.schedulers.admissions import BatchCap
from makespan.schedulers.equal_finish import EqualFinish
from makespan.schedulers.optimal import Optimal
from makespan.schedulers.orders import InRandomOrder, LongestFirst, ShortestFirst
from makespan.schedulers.placements import AnyInstance, GroupsInTurn, LeastInFlight, LeastTokens, PowerOfTwo, RoundRobin
from makespan.schedulers.policy import Policy
from makespan.schedulers.pull import Pull
from makespan.schedulers.rebalances import StealQueued
from makespan.schedulers.skew_aware import SkewAware

BLIND = ()
"""For policies that use no information about lengths."""

INFORMED = ("none", "prompt_length", "history", "siblings", "survival", "live", "noisy_oracle_0.5", "oracle")
"""What a length-aware policy is raced with by default, from nothing to everything."""

# fmt: off
fifo = Policy(placement=RoundRobin(), source="round robin, first come first served: verl's and NeMo-RL's default")
groups_in_turn = Policy(placement=GroupsInTurn(), source="all samples of a prompt on one engine: verl's split of a batch")
random = Policy(order=InRandomOrder(), placement=AnyInstance(), source="StreamRL's baseline (arXiv 2504.15930, Fig. 9)")
least_in_flight = Policy(placement=LeastInFlight(), source="verl GlobalRequestLoadBalancer; vLLM data-parallel balancer")
power_of_two = Policy(placement=PowerOfTwo(), source="Mitzenmacher, IEEE TPDS 2001; Ray Serve's default router")
work_stealing = Policy(placement=RoundRobin(), rebalance=StealQueued(), source="Blumofe and Leiserson, JACM 1999")
pull = Policy(placement=Pull(), source="one global queue with late binding")
least_tokens = Policy(placement=LeastTokens(), information=INFORMED, source="token-weighted least load: AIBrix, production-stack")
spt = Policy(order=ShortestFirst(), placement=LeastTokens(), information=INFORMED, source="Smith 1956; vllm-ltr (arXiv 2408.15792)")
lpt = Policy(order=LongestFirst(), placement=LeastTokens(), information=INFORMED, source="Graham, SIAM J. Appl. Math. 1969")
pull_lpt = Policy(order=LongestFirst(), placement=Pull(), information=INFORMED, source="list scheduling of a global queue, longest first")
skew_aware = Policy(order=LongestFirst(), placement=SkewAware(), information=("oracle",), source="StreamRL Algorithm 2, Eq. 2 (arXiv 2504.15930)")
skew_aware_max = Policy(order=LongestFirst(), placement=SkewAware(objective="max"), information=("oracle",), source="StreamRL Algorithm 2, slower group instead of sum")
equal_finish = Policy(order=LongestFirst(), placement=EqualFinish(), information=("oracle",), source="contiguous shares of equal finish by the step-time model (partition: Heddle, arXiv 2603.28101)")
ranker_guided = Policy(order=LongestFirst(), placement=SkewAware(), admission=BatchCap(), information=INFORMED, source="StreamRL's decisions on any information, order kept up to date")
optimal = Policy(order=LongestFirst(), placement=Optimal(time_limit_s=10), information=("oracle",), source="OR-Tools CP-SAT on the linear instance model")
# fmt: on
