"""Everything of the op list that is not a primitive, composed of primitives, family by family.

Each module ends with a class Methods: those of its functions that are Tensor methods too, and their in-place forms.
"""
