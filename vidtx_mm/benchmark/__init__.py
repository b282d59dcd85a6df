"""Compare one of our models with a reference: time, memory and difference of outputs.

``pairs`` declares what is compared, ``worker`` is the child process of one side, ``run`` alternates the two,
``report`` does the arithmetic and the printing, ``complexity`` counts parameters and multiply-adds.
"""
