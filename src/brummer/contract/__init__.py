"""What instance and hub agree on: the tools' names, arguments and result shapes. Others rely on these; keep them."""
