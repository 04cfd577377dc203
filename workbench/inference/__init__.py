"""Generation: an engine that speaks the OpenAI protocol, and the client of that protocol."""
