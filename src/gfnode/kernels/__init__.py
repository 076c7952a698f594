"""Operations that are written in C++ because arrays of PyTorch's would not stay in the cache."""
