"""Decide without a CT whether a patient's synthetic CT can pass or must be reviewed."""
