"""torch.hub: nothing is downloaded."""


def load(*args, **kwargs):
    raise RuntimeError("torch.hub downloads programs, and minigrad does not: get the model's source and its "
                       "state_dict, and load them")


load_state_dict_from_url = download_url_to_file = load


def get_dir() -> str:
    import os
    return os.path.join(os.path.expanduser(os.getenv("TORCH_HOME", "~/.cache/torch")), "hub")
