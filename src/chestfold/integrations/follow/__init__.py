"""Showing a run elsewhere by a process beside the training, which reads what the run leaves: what trackers share."""
