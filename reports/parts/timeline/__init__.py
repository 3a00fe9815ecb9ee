"""The timeline: charts of the worst pool, drawn when the page is made and redrawn at any zoom."""
