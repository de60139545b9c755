"""What methods and baselines share: learned widths, pooled features, the authors' checkpoint files."""
