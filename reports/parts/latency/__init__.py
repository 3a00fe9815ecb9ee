"""Latency and throughput, with faults and without."""
