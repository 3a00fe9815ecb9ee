"""The smallest trace and fault plan that still have the verdict and the kind of a recording.

loading.py  <- a recording        search.py  tries candidates, remembers them (journal.py)
    |                                 |          each replayed in memory (in_memory.py)
    v                                 v
case.py  -- rounds.py: requests, rules, deployment, lengths and times, until nothing gets smaller
                                      |
                                      v
                                outputs.py  trace, plan, a pytest file, a recording
"""
