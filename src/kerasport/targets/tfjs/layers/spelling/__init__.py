"""How TF.js spells layers, and which of their options it supports."""
