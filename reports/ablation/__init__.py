"""The ablation report: what each component contributes."""
