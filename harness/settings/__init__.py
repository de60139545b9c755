"""What a user may set and what one run is: strict models, experiments, runs, and how their files are read."""
