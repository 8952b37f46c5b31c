from gpt.attention import *
