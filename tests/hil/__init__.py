"""Hardware in the loop: the acceptance suite for a meter, against the real reader. `make hil-test PORT=… METER=…`."""
