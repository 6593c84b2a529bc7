"""What macOS does differently. Everything here takes the system calls as parameters, so that it is tested on Linux."""
