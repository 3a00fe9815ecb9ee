"""Every file and folder that is written: whole or not at all, by one process at a time, over no stranger's.

kinds      whose is what stands there, and what is it?
locks      who writes there, and what did a killed process leave?
place      hold() -> file() or folder() beside the place -> put(): old and new change places
writing    files in a place that is held
"""
