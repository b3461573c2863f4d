"""The playground: agents in a browser, from a server or as a folder of static files."""
