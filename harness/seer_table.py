"""Seer's comparison with round robin (arXiv 2511.14617), as far as its policies exist here."""

from dataclasses import dataclass

from makespan.harness.generator import Generator
from makespan.harness.generators import seer_kimi_k2, seer_moonlight, seer_qwen2vl
from makespan.harness.reproduction import Figure
from makespan.harness.workload import Workload
from makespan.runtime.specifications import load_gpu, load_model
from makespan.runtime.stage import simulate_stage
from makespan.schedulers import catalog, sources
from makespan.schedulers.estimates import Information
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.layout import USABLE_MEMORY, Layout
from makespan.schedulers.policy import Policy
from makespan.schedulers.roofline import Efficiency, decode_step, generation_instance

GPUS_PER_MACHINE = 8


@dataclass(frozen=True, slots=True)
class Setting:
    """One of Seer's workloads on its H800 GPUs (32, 128 and 256; the GPUs of one instance are our assumption).

    Parameters
    ----------
    generator
        The workload.
    model
        Name of the model.
    instances, tensor, pipeline
        How many instances, each of ``tensor * pipeline`` GPUs.
    streamrl, divided
        Published throughput of StreamRL-Oracle and of divided rollout over verl.
    """

    generator: Generator
    model: str
    instances: int
    tensor: int
    pipeline: int
    streamrl: float
    divided: float

    def instance(self, efficiency: Efficiency, max_batch: int) -> Instance:
        """Return one instance; latent attention keeps one copy of its KV per machine, not per GPU."""
        model, gpu = load_model(self.model), load_gpu("H800")
        layout = Layout(self.tensor, self.pipeline)
        if model.kv_heads >= self.tensor:
            return generation_instance(model, gpu, layout, efficiency, max_batch)
        room = USABLE_MEMORY * gpu.memory_bytes * layout.unit - model.weight_bytes
        return Instance(decode_step(model, gpu, layout, efficiency), int(room // model.kv_bytes_per_token), max_batch, 8192)


SETTINGS = (
    Setting(seer_moonlight, "moonlight-16b-a3b", 32, 1, 1, 1.21, 1.41),
    Setting(seer_qwen2vl, "qwen2.5-72b", 16, 8, 1, 1.43, 1.42),
    Setting(seer_kimi_k2, "kimi-k2", 8, 8, 4, 0.99, 1.16),
)
CHANGES = {"at most 256 requests on an instance": 256, "at most 64": 64}


def seer_table(max_batch: int = 1024, settings: tuple[Setting, ...] = SETTINGS) -> tuple[Figure, ...]:
    """Return throughput of StreamRL-Oracle, and of a global queue with late binding, over round robin.

    Divided rollout cuts requests into chunks that any instance can go on with, its KV in a shared pool. That engine does
    not exist here; one queue from which instances take what their free KV can hold has its balance but not its moves.
    """
    figures = []
    for setting in settings:
        workload = setting.generator(None, None, 0)
        cluster = Cluster.uniform(setting.instance(Efficiency(), max_batch), setting.instances)

        base = _seconds(workload, cluster, catalog.groups_in_turn, sources.none(workload.requests))
        oracle = _seconds(workload, cluster, catalog.skew_aware, sources.oracle(workload.output_tokens))
        queue = _seconds(workload, cluster, catalog.pull, sources.none(workload.requests))
        name = setting.generator.name.removeprefix("seer_")
        figures.append(Figure(f"{name} StreamRL-Oracle", setting.streamrl, base / oracle))
        figures.append(Figure(f"{name} global queue", setting.divided, base / queue))
    return tuple(figures)


def _seconds(workload: Workload, cluster: Cluster, policy: Policy, information: Information) -> float:
    run = simulate_stage(workload.requests, workload.output_tokens, cluster, policy, information)
    return float(run.timeline.ended.max())
