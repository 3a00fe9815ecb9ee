"""One rank's KV memory: the free list, who owns each page, block tables and the bytes themselves.

Imports torch, numpy and the standard library only, so that it runs on a bare GPU machine.
"""
