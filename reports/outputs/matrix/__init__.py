"""A matrix for people and CI: its page, JUnit XML and Markdown, from its table of results."""
