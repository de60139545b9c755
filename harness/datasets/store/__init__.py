"""The cache folder: arrays that are slow to make, and facts about files that are slow to find out."""
