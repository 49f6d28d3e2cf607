//! Where a restore puts files: beneath one directory, whatever the names say.
