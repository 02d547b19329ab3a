"""The training of a codec that hides heads and keeps people: boxes, losses, loop. The codec is `anonbench.codec`."""
