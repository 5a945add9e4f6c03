"""Export trained SAEs to the file layouts of other tools, and read them back."""
