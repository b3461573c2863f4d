"""Papers, one a package. They never import each other."""
