"""The speed comparison: fastnn, its NumPy reference, pure Python, and every other library that is installed.

Run as ``fastnn bench`` or by the commands in ``benchmarks/``. Each contestant works in a process of its own.
Contestants must compute the same before they are timed, and they are timed in turns.
"""
