"""From text to a trained model, on either engine: python -m train --help.

Data flows one way. text.py finds text, data.py makes tokens and batches of it, loop.py trains, checkpoints.py keeps
what must not be lost, metrics.py writes down and draws what happened. What differs between NumPy and PyTorch stands
in engines/, one file each, with the same functions.
"""
