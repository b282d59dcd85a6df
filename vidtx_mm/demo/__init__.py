"""Generated data sets, and the demo that trains and tests on one."""
