from tests import checked  # noqa: F401  the hook finds it as an attribute
