raise RuntimeError("what is wrong\n\nand what to do about it")
