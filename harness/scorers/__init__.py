"""What methods and baselines share: bases, learned widths and temperatures, tiles, recipes, the authors' checkpoints."""
