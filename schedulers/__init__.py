"""Pure scheduling decisions for LLM rollouts: plain data in, plain data out, numpy only."""
