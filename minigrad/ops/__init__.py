"""The primitives: each op is its value and its vjp. Everything else in minigrad is composed of these."""
