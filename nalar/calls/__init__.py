"""One call and what it makes: from a stub's arguments to a published invocation, and back."""
