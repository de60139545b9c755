"""Training: the loop and its recipe, what a resumed run needs, and augmentation."""
