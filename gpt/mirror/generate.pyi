from gpt.generate import *
