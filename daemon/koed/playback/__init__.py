"""What sounds next. Values in, values out: no socket, thread, device or clock of its own."""
