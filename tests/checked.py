"""Runtime checks of shapes and types in signatures; an int is accepted as a float, as in Python's typing."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
