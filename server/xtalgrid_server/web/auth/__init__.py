"""Authentication: who sends a request and what they may do. Sign-in, cookies, forms."""
