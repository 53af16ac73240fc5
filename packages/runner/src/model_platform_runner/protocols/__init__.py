"""The four ways to ask for the same answers: each turns a body into a checked batch, and answers into a document."""
