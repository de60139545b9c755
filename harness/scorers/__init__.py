"""What methods and baselines share: bases, learned widths, class tokens, tiles, recipes, the authors' checkpoints."""
