"""Two recordings side by side: before and after a fix.

two Evidences -> matching (which gap is which) -> Comparison -> page, Markdown, JSON
"""
