"""What programs and operators do: make requests, ask after them, end them, steer workers."""
