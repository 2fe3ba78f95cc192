"""The values of --protocol, outside of `protocols`, because importing that module takes long."""

PROTOCOL_NAMES = ("volume", "paper", "synthrad2023", "synthrad2025")
