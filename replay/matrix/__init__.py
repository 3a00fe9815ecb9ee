"""Matrices: one file says which traces, engines, topologies and faults must hold, and many replays check it.

file -> cells -> (pool of workers) -> store -> judged against expectations -> results
"""
