from gpt.layers import *
