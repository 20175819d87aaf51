"""stub."""


def load_keras(path):
    raise NotImplementedError
