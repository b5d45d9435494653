"""What is raced when nothing else is said."""

WORKLOAD = "smollm2"
ENCODER = "minilm"
PROFILE = "llama3.1-8b-rtxpro6000"
PROFILES = (PROFILE, "streamrl-7b-h800")
INSTANCES = 8
REQUESTS = 1024
"""Of the default workload; of one's own, all."""
LEVELS = (1.0, 4.0, 16.0)
"""Requests per batch slot."""
