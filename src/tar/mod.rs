//! Tar members as format 1 writes them: headers, names, sparse maps, and a strict reader. Pure.
