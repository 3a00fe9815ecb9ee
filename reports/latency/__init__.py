"""How fast requests were served: quantiles by group, throughput by phase, and what to compare with."""
