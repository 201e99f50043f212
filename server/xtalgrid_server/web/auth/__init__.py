"""Who somebody is and what they may do: sign-in, cookies, forms."""
