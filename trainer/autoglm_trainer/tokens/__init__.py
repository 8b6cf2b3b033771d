"""Rows as token ids, as training and the model server see them."""
