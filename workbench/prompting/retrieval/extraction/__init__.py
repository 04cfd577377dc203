"""Text out of files: plain text, source code, Markdown, HTML and PDF, with headings and places kept."""
