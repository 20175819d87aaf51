# cython: language_level=3, embedsignature=True
"""Types, shapes and the GIL; everything else is in csrc/."""

import os
import platform
import time as _time

import numpy as np

from fastnn._forking import forget_in_child as _forget_in_child

cimport cython
cimport numpy as cnp
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

cnp.import_array()
cdef object np_ndarray = np.ndarray

include "core/declarations.pxi"
include "core/names.pxi"
include "core/machine.pxi"
include "core/arrays.pxi"
include "core/options.pxi"
include "core/graph.pxi"
include "core/network.pxi"
include "core/occupancy.pxi"
include "core/ranks.pxi"
include "core/held_out.pxi"
include "core/fit.pxi"
include "core/functions.pxi"
include "core/least_squares.pxi"
