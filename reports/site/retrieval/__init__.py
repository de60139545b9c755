"""What the runs of one split found for its queries, as data for the gallery, the differences and the hardest queries."""
