//! The seam between the roles, and its in-process twin.
