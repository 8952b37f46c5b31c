"""torch.nn.modules, as minigrad has them."""
