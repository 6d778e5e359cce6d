"""`koed bench voices`: how the voices sound, how soon, and what that costs."""
