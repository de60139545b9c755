"""Energy that the machine measures itself: CPU packages by RAPL, GPUs by NVML; absent where it measures none."""
