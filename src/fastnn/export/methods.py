"""The methods of models and estimators that write them as source code."""

import os
from typing import Any


class ExportedAsSource:
    """Something with a network that can be written as source code of other languages."""

    def _exported_network(self) -> Any:
        """Return the ``ExportedNetwork``."""
        raise NotImplementedError

    def export_c(self, path: str | os.PathLike[str], function: str = "net") -> None:
        """Write the network as C99, with the same bits as fastnn's predictions.

        ``net.c`` needs no library but ``fma`` and ``sqrt`` of libm, no memory but the stack, and no state. It also
        compiles as C++. Compile it with ``-O3 -march=native -ffp-contract=off``. ``net.h``, next to it, declares::

            void net(const T *x, T *y);                  /* one row */
            void net_batch(const T *x, T *y, size_t n);  /* n rows, one after the other */

        where ``T`` is the network's type, float or double. With ``-DNET_SELF_TEST`` the file is a program that compares
        the bits of some rows. A classifier gives the probabilities of ``predict_proba``. Scaling of inputs and targets
        and filling of missing values (NaN) are part of the function.

        Parameters
        ----------
        path : file to write, ending in ".c".
        function : name of the function of one row; all other names begin with it.

        Raises
        ------
        ValueError
            The model is not built, ``path`` does not end in ".c", or ``function`` is not a name in C.
        OSError
            A file cannot be written, or exists and was not written by this method; no file is changed.

        Examples
        --------
        >>> import pathlib
        >>> import tempfile
        >>> import fastnn
        >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)])
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> model.export_c(folder / "net.c")
        >>> sorted(file.name for file in folder.iterdir())
        ['net.c', 'net.h']
        """
        from fastnn.export.c_source import export_c

        export_c(self._exported_network(), path, function)
