"""Lines of output: kept, filtered, searched, and grouped into errors."""
