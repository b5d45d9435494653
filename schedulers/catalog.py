"""Every policy that ships, one line each, with its source. Reading this is reading the table of a survey."""

from makespan.schedulers.admissions import BatchCap
from makespan.schedulers.alternating_shares import AlternatingShares
from makespan.schedulers.best_fit_repack import BestFitRepack
from makespan.schedulers.chunk_pull import ChunkPull
from makespan.schedulers.comes_back import ComesBack
from makespan.schedulers.consolidate_tail import ConsolidateTail
from makespan.schedulers.contiguous_partition import ContiguousPartition
from makespan.schedulers.correction import Correction
from makespan.schedulers.equal_finish import EqualFinish
from makespan.schedulers.feedback_levels import FeedbackLevels
from makespan.schedulers.finish_together import FinishTogether
from makespan.schedulers.goodput_density import GoodputDensityFirst
from makespan.schedulers.home_unless_skewed import HomeUnlessSkewed
from makespan.schedulers.isolated_tail import IsolatedTail
from makespan.schedulers.kv_reserves import ReserveNextStep, ReserveOutput
from makespan.schedulers.optimal import Optimal
from makespan.schedulers.orders import (
    ByArrival,
    InRandomOrder,
    LongestCapFirst,
    LongestFirst,
    LongestWholeFirst,
    MostProgressFirst,
    ShortestFirst,
    ShortestWholeFirst,
)
from makespan.schedulers.overtake import LongestPotential
from makespan.schedulers.past_future import PastFuture
from makespan.schedulers.placements import AnyInstance, GroupsInTurn, LeastInFlight, LeastTokens, PowerOfTwo, RoundRobin
from makespan.schedulers.policy import Policy
from makespan.schedulers.preempt_lower import PreemptLower
from makespan.schedulers.probes_first import ProbesFirst
from makespan.schedulers.pull import Pull
from makespan.schedulers.ranked_shares import RankedShares
from makespan.schedulers.rebalance_overdue import RebalanceOverdue
from makespan.schedulers.rebalances import StealQueued
from makespan.schedulers.round_policy import RoundPolicy
from makespan.schedulers.round_rules import Exactly, GroupOfBatches, PartialRollout, TailBatching, TokenBudget
from makespan.schedulers.skew_aware import SkewAware
from makespan.schedulers.starvation_guard import StarvationGuard
from makespan.schedulers.streaming_rules import ConstantConcurrency, StalenessBounded
from makespan.schedulers.whole_groups import DecodeHeavyGroupsFirst, WholeGroups

BLIND = ()
"""For policies that use no information about lengths."""

INFORMED = ("none", "prompt_length", "history", "siblings", "survival", "live", "noisy_oracle_0.5", "oracle")
"""What a length-aware policy is raced with by default, from nothing to everything."""

CHUNK = 1024
"""Tokens of Seer's chunks. The paper gives no number; 8K is quoted second-hand for caps of 40K to 96K."""

# What a published system leaves open, and how it is filled in, is said at each of its parts.
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
finish_together = Policy(order=LongestPotential(), placement=FinishTogether(), rebalance=Correction(), information=INFORMED, source="our own: schedulers/finish_together.md")
longest_output_first = Policy(order=LongestCapFirst(), placement=RoundRobin(), source="SGLang --schedule-policy lof (0.5.23), its default balance of data-parallel ranks")
job_average = Policy(order=ProbesFirst(count=3, probes=ByArrival()), placement=LeastInFlight(), admission=ReserveNextStep(), information=("job_average",), source="vllm-ascend BatchJobAwareScheduler, pull request 12240")
past_future = Policy(placement=LeastInFlight(), admission=PastFuture(), source="Past-Future scheduler, LightLLM (arXiv 2507.10150, ASPLOS 2025)")
past_future_estimates = Policy(placement=LeastInFlight(), admission=PastFuture(predict="estimate"), information=INFORMED, source="Past-Future's peak test on any information (arXiv 2507.10150)")
past_future_conservative = Policy(placement=LeastInFlight(), admission=PastFuture(predict="cap"), source="the conservative admission that Past-Future is compared with (arXiv 2507.10150)")
vllm_ltr = Policy(order=ShortestWholeFirst(), placement=StarvationGuard(idle_steps=200), rebalance=PreemptLower(ShortestWholeFirst()), information=INFORMED, source="vllm-ltr (arXiv 2408.15792, NeurIPS 2024)")
least_attained = Policy(order=FeedbackLevels(quantum_tokens=400), placement=Pull(), chunk_tokens=400, source="least attained service: Autellix (arXiv 2502.13965) as in JITServe's code")
mlfq = Policy(order=FeedbackLevels(quantum_tokens=400, growth=2), placement=Pull(), chunk_tokens=400, source="multilevel feedback queue: FastServe (arXiv 2305.05920) as in vllm-ltr's code")
goodput_density = Policy(order=GoodputDensityFirst(decode_weight=8), placement=Pull(), information=INFORMED, source="JITServe's priority without deadlines (arXiv 2504.20068, NSDI 2026)")
batch_llm = Policy(order=DecodeHeavyGroupsFirst(), placement=WholeGroups(), admission=ReserveOutput(), information=INFORMED, source="BatchLLM (arXiv 2412.03594, MLSys 2026)")
dynarl = Policy(order=MostProgressFirst(), placement=Pull(), source="DynaRL's order of requests (OSDI 2026)")
rlhfuse = Policy(placement=LeastInFlight(), rebalance=ConsolidateTail(share=0.2), source="RLHFuse, inter-stage fusion (arXiv 2409.13221, NSDI 2025)")
laminar = Policy(placement=LeastInFlight(), rebalance=BestFitRepack(every_s=5), source="Laminar's dynamic repack (arXiv 2510.12633, EuroSys 2026)")
rhymerl = Policy(order=LongestFirst(), placement=RankedShares(), rebalance=RebalanceOverdue(last=0.1), information=("none", "history", "noisy_oracle_0.5", "oracle"), source="RhymeRL's HistoPipe within one stage (arXiv 2508.18588, ASPLOS 2026)")
tail_sieve = Policy(placement=IsolatedTail(excess=0.1), information=("none", "history", "noisy_oracle_0.5", "oracle"), source="TailSieve (arXiv 2608.22788)")
heddle_partition = Policy(order=LongestFirst(), placement=ContiguousPartition(), information=INFORMED, source="Heddle's placement alone (arXiv 2603.28101)")
heddle = Policy(order=LongestWholeFirst(), placement=ComesBack(ContiguousPartition(), HomeUnlessSkewed()), admission=BatchCap(), rebalance=PreemptLower(LongestWholeFirst()), information=INFORMED, source="Heddle without its resource manager (arXiv 2603.28101)")
seer = Policy(order=ProbesFirst(), placement=ChunkPull(CHUNK), chunk_tokens=CHUNK, information=("siblings", "oracle"), source="Seer without speculative decoding (arXiv 2511.14617v3, Algorithm 2)")
divided = Policy(placement=ChunkPull(CHUNK), chunk_tokens=CHUNK, source="Seer's divided rollout without context (arXiv 2511.14617v3, Figure 10)")
seer_group_atomic = Policy(order=ProbesFirst(), placement=WholeGroups(), admission=BatchCap(), information=("siblings",), source="Seer's order without division, a group on one instance (arXiv 2511.14617)")
seer_undivided = Policy(order=ProbesFirst(), placement=Pull(), information=("siblings",), source="Seer's order without division, groups split (arXiv 2511.14617)")
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
histo_pipe = RoundPolicy(Exactly(), turns=(Policy(placement=AlternatingShares()), Policy(placement=AlternatingShares(descending=True))), course="handover", trainer_share=0.25, staleness=1, information=("history", "oracle"), source="RhymeRL's HistoPipe (arXiv 2508.18588): both tiers, by tokens; steepness 2 is ours; tail rebalance and speculation are left out")
laminar_drain = RoundPolicy(StalenessBounded(4), course="drain", keeps=True, trainer_share=0.25, staleness=None, source="Laminar (arXiv 2510.12633) without repacking: each instance drains and refills; how far it may run ahead is not published, 4 is ours")
# fmt: on
