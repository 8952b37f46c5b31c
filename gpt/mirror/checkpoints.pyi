from gpt.checkpoints import *
