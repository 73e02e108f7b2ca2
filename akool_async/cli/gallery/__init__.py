"""One page that shows images, their buttons and what became of them."""
