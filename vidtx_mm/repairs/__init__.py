"""Detectors and repairs behind the table of ``vidtx_mm.compat``, one file per host package.

A detector answers whether this installation has the fault, without importing what the waiting module would not import.
A repair is a context manager around the execution of the module it waits for: code before ``yield`` prepares the
import, code after it edits the imported module.
"""
