"""The drawn workloads: one line each, with its source."""

from makespan.harness.generator import Generator
from makespan.harness.shapes import CodeMath, LogNormal

STREAMRL = (
    "StreamRL (arXiv 2504.15930), section 10.1 and Figure 7: 1,024 prompts per iteration with the lengths of DeepSeek-R1's "
    "answers, scaled to end at the cap; a mixture that has the mode, the tail and the bump of the plot."
)
SEER = (
    "Seer (arXiv 2511.14617), the {} workload: requests, group size, mean and cap as published; log-normal with the "
    "spread of DeepSeek-R1 on ARC-AGI-1 (sigma 0.94, of which 0.39 within a prompt), which the paper does not give."
)
SEER_SIGMA = 0.94
K = 1024

codemath_5k = Generator("codemath_5k", CodeMath(5_000), requests=1024, group_size=1, source=STREAMRL)
codemath_10k = Generator("codemath_10k", CodeMath(10_000), requests=1024, group_size=1, source=STREAMRL)
codemath_20k = Generator("codemath_20k", CodeMath(20_000), requests=1024, group_size=1, source=STREAMRL)


def _seer(name: str, workload: str, *, mean: int, cap: int, requests: int, group_size: int) -> Generator:
    shape = LogNormal.with_mean(mean, SEER_SIGMA, cap)
    return Generator(name, shape, requests=requests, group_size=group_size, source=SEER.format(workload))


seer_moonlight = _seer("seer_moonlight", "Moonlight", mean=22_400, cap=64 * K, requests=3200, group_size=8)
seer_qwen2vl = _seer("seer_qwen2vl", "Qwen2-VL-72B", mean=7_600, cap=40 * K, requests=9600, group_size=16)
seer_kimi_k2 = _seer("seer_kimi_k2", "Kimi-K2", mean=39_000, cap=96 * K, requests=6400, group_size=8)


def lognormal(sigma: float) -> Generator:
    """Return log-normal lengths: 1,024 requests in groups of 8, mean 2,000, cap 32,768; only the tail depends on `sigma`."""
    return Generator(
        f"lognormal_{sigma}",
        LogNormal.with_mean(2_000, sigma, 32 * K),
        requests=1024,
        group_size=8,
        source=f"Log-normal lengths with sigma {sigma} and mean 2,000, cut off at 32,768: a family to vary the tail with.",
    )


lognormal_0_5 = lognormal(0.5)
lognormal_1_0 = lognormal(1.0)
lognormal_1_5 = lognormal(1.5)
