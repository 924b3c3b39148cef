"""Tables of graphs before and after rules, which test_passes.py applies."""
