"""Workloads, experiments, benchmarks, report and command line."""
