"""What a language model costs to keep and to run: its sizes, from its published configuration."""

from dataclasses import dataclass

BF16_BYTES = 2


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A decoder-only transformer.

    Parameters
    ----------
    name
        What it is called.
    layers, hidden_size, query_heads, kv_heads, head_size
        As in its configuration.
    parameters
        Number of parameters.
    active_parameters
        Parameters that compute one token; all of them (0) unless experts are chosen.
    experts, experts_per_token
        Experts of a layer and how many of them one token uses; 0 for a dense model.
    """

    name: str
    layers: int
    hidden_size: int
    query_heads: int
    kv_heads: int
    head_size: int
    parameters: int
    active_parameters: int = 0
    experts: int = 0
    experts_per_token: int = 0

    def __post_init__(self) -> None:
        for field in ("layers", "hidden_size", "query_heads", "kv_heads", "head_size", "parameters"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} of {self.name} must be at least 1, got {getattr(self, field)}")
        if not 0 <= self.active_parameters <= self.parameters:
            raise ValueError(
                f"active_parameters of {self.name} must be 0 to {self.parameters}, got {self.active_parameters}"
            )
        if not 0 <= self.experts_per_token <= self.experts:
            raise ValueError(f"experts_per_token of {self.name} must be 0 to {self.experts}, got {self.experts_per_token}")

    @property
    def computing(self) -> int:
        """Parameters that compute one token."""
        return self.active_parameters or self.parameters

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in BF16."""
        return BF16_BYTES * self.parameters

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of K and V of one token in BF16, over all layers."""
        return BF16_BYTES * 2 * self.layers * self.kv_heads * self.head_size

    def read_parameters(self, batch: int) -> float:
        """Return how many parameters one step of `batch` tokens reads: of the experts only those that some token chose."""
        if not self.experts:
            return float(self.parameters)
        share = self.experts_per_token / self.experts
        # parameters = shared + experts, computing = shared + share * experts
        experts = (self.parameters - self.computing) / (1 - share)
        return self.parameters - experts * (1 - share) ** batch

    def attention_flops(self, tokens: float) -> float:
        """Return forward FLOP of causal attention over one sequence of `tokens`, all layers."""
        return 2.0 * self.layers * self.query_heads * self.head_size * tokens**2
