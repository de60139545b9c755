"""The profile report: accuracy against latency, throughput and memory."""
