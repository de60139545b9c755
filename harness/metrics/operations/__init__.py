"""The steps of counting that arrays and tensors spell differently: one module for NumPy, one for torch.

Arrays are counted by NumPy, which needs no torch; tensors by torch, where they are. Counts are whole numbers and ranks
follow from comparisons alone, so that both give the same.
"""
