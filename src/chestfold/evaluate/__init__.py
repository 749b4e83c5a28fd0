"""Numbers: metrics, prediction tables, results, ensembles, leaderboards."""
