"""How the built-in CLIP was made: its pictures and captions, its training, and what it knows."""
