"""Detectors and repairs for the table in ``vidtx_mm.compat``, one file per host package.

A detector returns whether this installation has the fault, and imports nothing that the repaired module would not
import. A repair is a context manager around the execution of its module: code before ``yield`` prepares the import,
code after it patches the module.
"""
