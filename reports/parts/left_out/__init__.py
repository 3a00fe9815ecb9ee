"""How to draw the charts of a page that was made without them."""
