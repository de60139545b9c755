"""Results of other code: files in the shapes that other programs write, evaluated on our protocols."""
