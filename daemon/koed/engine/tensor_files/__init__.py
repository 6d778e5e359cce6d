"""Files of tensors, read as data: nothing that a file names is imported or run, and torch is not
needed. What the tensors are for is known by the engines.

==================  =============================================================
``contents.py``     names and places of the tensors of a torch or safetensors file
``unpickle.py``     a pickle of torch, by a machine that can only build values
``zip_records.py``  where the records of a torch zip lie
==================  =============================================================
"""
