"""Files: names that stay in their folder, writing whole files, reading them back checked, and locks."""
