"""Rewriting of graphs: small rules, each with the algebra that it stands on."""
