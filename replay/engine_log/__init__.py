"""What a real server would have logged during a replay: its recording in the engine's own lines."""
