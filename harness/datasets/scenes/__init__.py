"""Generated scenes: a small world, its pictures, its captions, and a detector for its regions."""
