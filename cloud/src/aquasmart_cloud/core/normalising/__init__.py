"""Foreign events: from whatever a client sends to one exact form. Pure: values in, values or faults out."""
