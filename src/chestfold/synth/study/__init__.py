"""Can anybody tell? The quiz for readers and the classifier two-sample test."""
