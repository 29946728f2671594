"""Models in GGUF, the file format of llama.cpp: settings, tokenizer and quantised weights in one file."""
