"""Compare one of our models with a reference: time, memory and difference of outputs.

``pairs`` declares the models, ``worker`` runs one of them in a child process, ``run`` alternates the two, ``report``
computes and prints the statistics, ``complexity`` counts parameters and multiply-adds, ``gemm`` measures the rate of
matrix products, and ``timing`` a call. ``gpu_check`` runs ``device_checks`` and ``device_tables`` on a GPU.
"""
