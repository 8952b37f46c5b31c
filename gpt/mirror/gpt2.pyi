from gpt.gpt2 import *
