"""Network modules and optimisers shared by all systems."""
