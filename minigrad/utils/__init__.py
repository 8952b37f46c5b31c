"""What surrounds a training loop: `minigrad.utils.data` feeds it."""
