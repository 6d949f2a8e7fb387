//! Resources to snapshot: load, resolve, check, compile.
