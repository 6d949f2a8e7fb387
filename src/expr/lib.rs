//! Flow expressions: CEL, bounded.
