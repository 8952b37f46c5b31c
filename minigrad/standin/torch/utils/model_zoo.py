"""The older home of torch.hub's downloads."""

from __future__ import annotations

from ..hub import load_state_dict_from_url

load_url = load_state_dict_from_url
