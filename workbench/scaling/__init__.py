"""Cost planning and scaling laws: what more compute buys, and how it is shared among runs. No torch here."""
