"""The playground: a page in the browser where a visitor changes an agent's senses, or drives in its dream.

`command.py` starts it, `server.py` answers HTTP and WebSockets, `connection.py` serves one visitor, whose scene runs in a process of its own
(`worker.py`). The server's process never imports torch.
"""
