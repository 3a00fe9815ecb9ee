"""The life of one request or one page, told step by step from a recording."""
