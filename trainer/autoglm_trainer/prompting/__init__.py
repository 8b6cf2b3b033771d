"""How a model that stays as it is can be asked, and what comes back."""
