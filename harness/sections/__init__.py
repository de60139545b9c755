"""Sections of reports that plug-ins write: what one gets, what it returns, and how it is placed on a page."""
