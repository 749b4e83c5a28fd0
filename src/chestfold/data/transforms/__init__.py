"""What becomes of decoded images before a network sees them."""
