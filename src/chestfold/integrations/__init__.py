"""The world outside: Kaggle and experiment trackers."""
