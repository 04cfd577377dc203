"""The Textual interface. It holds no state that matters and never imports torch."""
