"""What people prefer: sessions of prompts and answers, and an append-only log of what was said of them."""
