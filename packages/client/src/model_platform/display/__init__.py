"""What people see: one description of a card, and its forms as HTML, markdown, plain text and JSON."""
