"""The private server on this machine: finding it, proving that it is ours, starting it where there is none."""
