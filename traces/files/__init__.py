"""Write files and folders atomically, by one process at a time, and never over files of other tools.

kinds      did kvreplay make the existing file or folder, and as what?
locks      which process writes there, and which files did a killed process leave?
place      hold() -> file() or folder() beside the place -> put(): old and new change places
writing    files in a place that is held
"""
