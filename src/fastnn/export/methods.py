"""The methods of models and estimators that write them as source code."""

import os
from typing import Any

from fastnn._derivation import Derivable


class ExportedAsSource(Derivable):
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

        where ``T`` is the network's type, float or double. A network with several inputs or outputs takes a pointer for
        each of them, in the order of ``model.inputs`` and ``model.outputs``: ``net(x1, x2, y1, y2)``. An input that is
        declared as integers has the type int32_t or int64_t; a category that the network does not know gives NaN.

        With ``-DNET_SELF_TEST`` the file is a program that compares the bits of some rows. A classifier gives the
        probabilities of ``predict_proba``. Scaling of inputs and targets and filling of missing values (NaN) are part
        of the function.

        Parameters
        ----------
        path : file to write, ending in ".c".
        function : name of the function of one row; all other names begin with it.

        Raises
        ------
        ValueError
            The model is not built, a layer has no form in C, such as one that encodes strings, ``path`` does not end in
            ".c", or ``function`` is not a name in C.
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

    def export_numpy(self, path: str | os.PathLike[str]) -> None:
        """Write the network as a Python module that needs NumPy alone, with the weights inside.

        Its function ``predict(X)`` takes (n, n_features) and returns (n, n_outputs), a classifier's probabilities. With
        several inputs X is a list of arrays or a dict by name, with several outputs the result is a list. Outputs agree
        with fastnn's to rounding, not bit for bit. The module is made to be read: for float32 it rounds products after
        each multiply-add as fastnn does, which takes a loop in Python.

        Parameters
        ----------
        path : file to write, ending in ".py".

        Raises
        ------
        ValueError
            The model is not built, or ``path`` does not end in ".py".
        OSError
            The file cannot be written, or exists and was not written by fastnn.
        """
        from fastnn.export.numpy_source import export_numpy

        export_numpy(self._exported_network(), path)

    def export_fortran(self, path: str | os.PathLike[str], function: str = "net") -> None:
        """Write the network as a Fortran 2008 module without dependencies, with the weights as parameters.

        The module ``net_module`` has the pure subroutines ``net(x, y)`` for one row, x (n_inputs), y (n_outputs), and
        ``net_batch(x, y)`` for a row in each column, x (n_inputs, n) and y (n_outputs, n); the constants ``net_inputs``
        and ``net_outputs``; and the kind ``net_real`` of all numbers. With several inputs or outputs they take x1, x2,
        ..., y1, y2, ... in the order of ``model.inputs`` and ``model.outputs``, and the constants end in "_1", "_2";
        an input that is declared as integers has the kind int32 or int64. All functions are computed by fastnn's
        formulas, with multiply-adds in the same order. Outputs agree with fastnn's within two units in the last place
        of the largest output, mostly bit for bit.

        Parameters
        ----------
        path : file to write, ending in ".f90".
        function : name of the subroutine of one row; all other names begin with it.

        Raises
        ------
        ValueError
            The model is not built, ``path`` does not end in ".f90", or ``function`` is not a name in Fortran.
        OSError
            The file cannot be written, or exists and was not written by fastnn.
        """
        from fastnn.export.fortran_source import export_fortran

        export_fortran(self._exported_network(), path, function)
