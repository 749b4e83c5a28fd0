"""Single images: from files to predictions and heat maps."""
