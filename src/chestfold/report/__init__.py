"""One self-contained page of what a dashboard would show, made from results alone."""
