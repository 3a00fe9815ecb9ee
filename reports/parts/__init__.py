"""The parts of a recording's section of the page: one folder each, named in `order.PARTS`."""
