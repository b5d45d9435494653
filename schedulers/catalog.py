"""Every policy that ships, one line each, with its source. Reading this is reading the table of a survey."""

from makespan.schedulers.admissions import BatchCap
from makespan.schedulers.equal_finish import EqualFinish
from makespan.schedulers.optimal import Optimal
from makespan.schedulers.orders import InRandomOrder, LongestFirst, ShortestFirst
from makespan.schedulers.placements import AnyInstance, GroupsInTurn, LeastInFlight, LeastTokens, PowerOfTwo, RoundRobin
from makespan.schedulers.policy import Policy
from makespan.schedulers.pull import Pull
from makespan.schedulers.ranked_shares import RankedShares
from makespan.schedulers.rebalances import StealQueued
from makespan.schedulers.round_policy import RoundPolicy
from makespan.schedulers.round_rules import Exactly, GroupOfBatches, PartialRollout, TailBatching, TokenBudget
from makespan.schedulers.skew_aware import SkewAware
from makespan.schedulers.streaming_rules import ConstantConcurrency, StalenessBounded

BLIND = ()
"""For policies that use no information about lengths."""

INFORMED = ("none", "prompt_length", "history", "siblings", "noisy_oracle_0.5", "oracle")
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

# Over many iterations: how many requests each issues, and what becomes of the unfinished. Within a round all of them send a
# request to the instance with the fewest in flight, so that what is compared is the rule between rounds.
# fmt: off
synchronous = RoundPolicy(Exactly(), source="generate, train, and again: verl's, NeMo-RL's and slime's default")
synchronous_lpt = RoundPolicy(Exactly(), stage=pull_lpt, information=("oracle",), source="the same, longest first by true lengths: what order alone can give")
tail_batching = RoundPolicy(TailBatching(1.25, 1.25), source="RollPacker (arXiv 2509.21009): over-issue 1.25 twice; without its reward, parallelism and streaming parts")
april = RoundPolicy(PartialRollout(2.0), keeps=True, staleness=None, source="APRIL (arXiv 2509.18521): 64 prompts for 32; what is resumed is prefilled again under new weights (as slime does)")
kimi_partial = RoundPolicy(TokenBudget(0.25), keeps=True, staleness=None, source="Kimi k1.5 (arXiv 2501.12599): its budget is not published, a quarter of the cap is ours")
sorted_rl = RoundPolicy(GroupOfBatches(4), unit="sample", source="SortedRL, on-policy (arXiv 2603.23414): the size of a group is a knob, 4 steps is ours; its token threshold is left out")
sorted_rl_partial = RoundPolicy(GroupOfBatches(4), keeps=True, unit="sample", staleness=3, source="SortedRL, partial: interrupted samples go on")
one_step = RoundPolicy(Exactly(), course="handover", trainer_share=0.25, staleness=1, source="one-step off-policy without a barrier between instances; 3:1 as AReaL's")
areal = RoundPolicy(StalenessBounded(4), course="interrupt", keeps=True, trainer_share=0.25, staleness=None, source="AReaL (arXiv 2505.24298): interruptible, oldest finished first, 3:1; eta to 8 is said to do no harm, 4 is ours")
areal_in_order = RoundPolicy(StalenessBounded(4), course="interrupt", keeps=True, in_order=True, trainer_share=0.25, staleness=4, source="AReaL's rule with batches strictly in the order of issue, which makes eta a bound")
roll_flash = RoundPolicy(StalenessBounded(1, expires=True), course="interrupt", keeps=True, trainer_share=0.25, staleness=1, source="ROLL Flash (arXiv 2510.11345): alpha 1, what is older is given up; its split is not published")
pipeline_rl = RoundPolicy(ConstantConcurrency(), course="interrupt", keeps=True, trainer_share=0.25, staleness=None, source="PipelineRL (arXiv 2509.19128): constant batch; it keeps stale KV at an update, here it is computed again")
rhyme_rl = RoundPolicy(Exactly(), turns=(Policy(placement=RankedShares()), Policy(placement=RankedShares(descending=True))), course="handover", trainer_share=0.25, staleness=1, information=("history", "oracle"), source="RhymeRL's HistoPipe (arXiv 2508.18588): both tiers, by tokens; steepness 2 is ours; tail rebalance and speculation are left out")
laminar = RoundPolicy(StalenessBounded(4), course="drain", keeps=True, trainer_share=0.25, staleness=None, source="Laminar (arXiv 2510.12633) without repacking: each instance drains and refills; how far it may run ahead is not published, 4 is ours")
# fmt: on
