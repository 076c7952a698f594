"""A trained model for others: its folder, what is checked when it is opened, and its card."""
