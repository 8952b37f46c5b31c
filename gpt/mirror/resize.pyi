from gpt.resize import *
