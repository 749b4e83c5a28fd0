"""The command line: the `chestfold` command and the options of an experiment file."""
