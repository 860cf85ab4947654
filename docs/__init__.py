"""The documents, and the scripts that write their generated parts."""
