"""Turn pictures and texts into vectors: which encoders there are, where their weights come from, what they read."""
