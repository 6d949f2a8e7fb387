//! Admission, the B2BUA call and the flow cursor, without I/O.
