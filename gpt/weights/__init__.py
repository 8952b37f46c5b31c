"""Weights in files, of every layout that GPT-2 comes in: what is stored where, and under which names. Engine-free.

    stored.py       a tensor that lies in a file, unread
    files.py        safetensors (single, sharded) and .pth files as dicts of them
    bundle.py       TensorFlow's checkpoints, OpenAI's originals, likewise
    layouts.py      from others' names and shapes to the model's, and back; config.json and hparams.json
    hub.py          names to folders: caches and downloads

`gpt.checkpoints` and `gpt.mirror.checkpoints` put them into models.
"""
