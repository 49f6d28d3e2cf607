//! SCSI commands and the data they move, as pure codecs for both sides of the wire.
