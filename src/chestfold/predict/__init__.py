"""One picture: from files to answers and heat maps."""
