class Methods: __slots__ = ()
