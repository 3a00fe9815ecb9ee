"""One rank's KV memory: free list, page owners, block tables and page contents.

Imports torch, numpy and the standard library only, so that it runs on a bare GPU machine.
"""
