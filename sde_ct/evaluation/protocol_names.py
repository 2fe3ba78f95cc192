"""The values of --protocol, apart from `protocols`, whose import takes long."""

PROTOCOL_NAMES = ("volume", "paper", "synthrad2023", "synthrad2025")
