"""Personal data in text: finders by kind, and what stands in their place."""
