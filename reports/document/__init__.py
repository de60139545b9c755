"""What a report is, and its renderers: HTML, Markdown, LaTeX, JSON, CSV and figures."""
