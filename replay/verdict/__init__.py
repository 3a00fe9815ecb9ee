"""From a finished recording to a verdict: episodes, oracles, blame, findings."""
