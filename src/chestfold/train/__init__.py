"""The life of a run: prepare, train each fold once, collect."""
