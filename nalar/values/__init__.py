"""Values on the wire: by their annotations as JSON, with the futures inside them."""
